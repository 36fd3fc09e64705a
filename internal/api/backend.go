package api

import (
	"context"
	"errors"
	"io"

	"github.com/scloudstack/pharos/policy"
)

// What a Backend's errors may wrap, beside *policy.Refusal (409, with the
// rule's name) and *Rejected (422, with located problems). Anything else is
// the node's own failure (500).
var (
	ErrNotFound = errors.New("not found")         // 404: no such name, zone, alarm
	ErrInvalid  = errors.New("invalid")           // 422: an order or question that makes no sense; the text says what is expected
	ErrConflict = errors.New("conflict")          // 409: right in itself, but not now: nothing to confirm
	ErrDegraded = errors.New("not able to do it") // 503: the disk does not write, the node is stopping
)

// Backend is the running node as the API sees it. Every method may be called
// from many goroutines at once and returns when ctx ends.
type Backend interface {
	Reader
	Orderer
	Zones
	Cluster
}

// Reader answers questions and changes nothing.
type Reader interface {
	Version() Version
	// Ready tells whether the node answers what it should.
	Ready() Readiness
	Status(ctx context.Context) (Status, error)
	Explain(ctx context.Context, q policy.Query) (policy.Explanation, error)
	Alarms(ctx context.Context) ([]policy.AlarmStatus, error)
	// Diff tells which answers would change if the configuration at path (""
	// is the node's own file, as it is on the disk now) were loaded.
	Diff(ctx context.Context, path string) (DiffResult, error)
}

// Orderer carries out what a person wants.
type Orderer interface {
	// Order judges an order and, unless it is a dry run, stores and obeys it and
	// waits for other nodes before it returns. The author stands in the order.
	Order(ctx context.Context, o policy.Order, g Giving) (OrderResult, error)
	// Reload loads the configuration again, whole or not at all.
	Reload(ctx context.Context, r ReloadRequest, author string) (ReloadResult, error)
	// Confirm keeps a configuration that was loaded to be confirmed.
	Confirm(ctx context.Context, author string) (ReloadResult, error)
}

// Zones keeps the zones. A name is canonical: lower case, with the final dot.
type Zones interface {
	Zones(ctx context.Context) ([]Zone, error)
	// ZoneDump writes the zone that is served as a master file. Nothing is
	// written before it is known to exist.
	ZoneDump(ctx context.Context, name string, w io.Writer) error
	// ZoneDiff compares what is served with the file.
	ZoneDiff(ctx context.Context, name string) (ZoneDiff, error)
	// ZoneReload reads the file of one zone, or of all ("") again. accept
	// takes a zone that shrank or whose serial went back.
	ZoneReload(ctx context.Context, name string, accept bool, author string) ([]Zone, error)
	// ZoneRollback serves the version before.
	ZoneRollback(ctx context.Context, name string, author string) (Zone, error)
}

// Cluster is the node among the others.
type Cluster interface {
	// ClusterStatus is every configured node as this one knows it.
	ClusterStatus(ctx context.Context) (ClusterStatus, error)

	// Audit lists what was done, the newest first.
	Audit(ctx context.Context, q AuditQuery) (AuditPage, error)
	// VerifyAudit checks the hash chains of all nodes whose records are here.
	VerifyAudit(ctx context.Context) (AuditVerdict, error)

	// GossipKeys tells which node has which gossip key.
	GossipKeys(ctx context.Context) (GossipKeys, error)
	// AddGossipKeys has every node read its keys_file again.
	AddGossipKeys(ctx context.Context, author string) (GossipKeys, error)
	// UseGossipKey has every node send with a key, RemoveGossipKey has every
	// node forget one. Both are refused (ErrConflict) until every configured
	// node that is not declared lost has confirmed.
	UseGossipKey(ctx context.Context, fingerprint, author string) (GossipKeys, error)
	RemoveGossipKey(ctx context.Context, fingerprint, author string) (GossipKeys, error)
}

// Rejected is input that was refused whole, with every fault in its place.
type Rejected struct {
	What     string // "configuration /etc/pharos/pharos.yaml", "zone shop.example."
	Problems []Problem
}

func (r *Rejected) Error() string {
	if len(r.Problems) == 0 {
		return r.What + " was refused"
	}
	s := r.What + " was refused: " + r.Problems[0].String()
	if len(r.Problems) > 1 {
		s += " (and more)"
	}
	return s
}
