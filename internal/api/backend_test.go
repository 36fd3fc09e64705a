package api

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"sync"

	"github.com/scloudstack/pharos/policy"
)

// recorded is a Backend that notes what it was asked and answers as told.
type recorded struct {
	mu     sync.Mutex
	err    error // answered to everything, where set
	ready  Readiness
	orders []policy.Order
	given  []Giving
	calls  []string
	dumped int // lines that a dump writes before it fails with err
}

func (b *recorded) note(format string, args ...any) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls = append(b.calls, fmt.Sprintf(format, args...))
	return b.err
}

func (b *recorded) last() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.calls) == 0 {
		return ""
	}
	return b.calls[len(b.calls)-1]
}

func (b *recorded) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = err
}

func (b *recorded) Version() Version { return Version{Version: "1.2.3", Go: "go", OS: "linux/amd64"} }

func (b *recorded) Ready() Readiness {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ready
}

func (b *recorded) become(r Readiness) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ready = r
}

func (b *recorded) Status(context.Context) (Status, error) {
	return Status{Node: NodeStatus{
		Name: "edge-a1", Config: "/etc/pharos/pharos.yaml",
		Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:53")},
	}}, b.note("status")
}

func (b *recorded) Explain(_ context.Context, q policy.Query) (policy.Explanation, error) {
	return policy.Explanation{Name: q.Name}, b.note("explain %s %s", q.Name, q.Client)
}

func (b *recorded) Alarms(context.Context) ([]policy.AlarmStatus, error) {
	return []policy.AlarmStatus{{Cause: "all-down/shop"}}, b.note("alarms")
}

func (b *recorded) Diff(_ context.Context, path string) (DiffResult, error) {
	return DiffResult{Config: path}, b.note("diff %s", path)
}

func (b *recorded) Order(_ context.Context, o policy.Order, g Giving) (OrderResult, error) {
	err := b.note("order %s %s by %s", o.Kind, o.Key, o.Author)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.orders, b.given = append(b.orders, o), append(b.given, g)
	return OrderResult{Author: o.Author, DryRun: g.DryRun, Revision: 7}, err
}

func (b *recorded) Reload(_ context.Context, r ReloadRequest, author string) (ReloadResult, error) {
	return ReloadResult{Revision: 8}, b.note("reload %s by %s", r.Confirm, author)
}

func (b *recorded) Confirm(_ context.Context, author string) (ReloadResult, error) {
	return ReloadResult{Revision: 8}, b.note("confirm by %s", author)
}

func (b *recorded) Zones(context.Context) ([]Zone, error) {
	return []Zone{{Name: "shop.example."}}, b.note("zones")
}

func (b *recorded) ZoneDump(_ context.Context, name string, w io.Writer) error {
	err := b.note("dump %s", name)
	for i := range b.dumped {
		if _, werr := fmt.Fprintf(w, "n%d.%s 60 IN A 192.0.2.1\n", i, name); werr != nil {
			return werr
		}
	}
	return err
}

func (b *recorded) ZoneDiff(_ context.Context, name string) (ZoneDiff, error) {
	return ZoneDiff{Name: name}, b.note("zonediff %s", name)
}

func (b *recorded) ZoneReload(_ context.Context, name string, accept bool, author string) ([]Zone, error) {
	return []Zone{{Name: name}}, b.note("zonereload %q %t by %s", name, accept, author)
}

func (b *recorded) ZoneRollback(_ context.Context, name, author string) (Zone, error) {
	return Zone{Name: name}, b.note("rollback %s by %s", name, author)
}

func (b *recorded) ClusterStatus(context.Context) (ClusterStatus, error) {
	return ClusterStatus{Name: "prod"}, b.note("cluster")
}

func (b *recorded) Audit(_ context.Context, q AuditQuery) (AuditPage, error) {
	return AuditPage{Records: []AuditRecord{{Number: 1}}}, b.note("audit %+v", q)
}

func (b *recorded) VerifyAudit(context.Context) (AuditVerdict, error) {
	return AuditVerdict{Good: true}, b.note("verify")
}

func (b *recorded) GossipKeys(context.Context) (GossipKeys, error) {
	return GossipKeys{}, b.note("keys")
}

func (b *recorded) AddGossipKeys(_ context.Context, author string) (GossipKeys, error) {
	return GossipKeys{}, b.note("keys add by %s", author)
}

func (b *recorded) UseGossipKey(_ context.Context, key, author string) (GossipKeys, error) {
	return GossipKeys{}, b.note("keys use %s by %s", key, author)
}

func (b *recorded) RemoveGossipKey(_ context.Context, key, author string) (GossipKeys, error) {
	return GossipKeys{}, b.note("keys remove %s by %s", key, author)
}
