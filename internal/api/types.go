package api

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/scloudstack/pharos/internal/config"
	"github.com/scloudstack/pharos/policy"
)

// Version says what is running.
type Version struct {
	Version string    `json:"version" doc:"release, or the commit of a development build" example:"0.1.0"`
	Commit  string    `json:"commit,omitempty"`
	Built   time.Time `json:"built,omitzero" doc:"time of the commit"`
	Go      string    `json:"go" example:"go1.26.8"`
	OS      string    `json:"os" example:"linux/amd64"`
}

// Readiness says whether a node does what it is there for.
type Readiness struct {
	Ready bool   `json:"ready"`
	Why   string `json:"why,omitempty" doc:"what is missing, where it is not ready" example:"held: waiting for city-b"`
}

// Status is the node at a glance.
type Status struct {
	Node     NodeStatus           `json:"node"`
	Alarms   []policy.AlarmStatus `json:"alarms" doc:"all of them: the decision's, and the node's own (zones, disk, configuration)"`
	Decision policy.Status        `json:"decision" doc:"sites, services and endpoints, and what people ordered"`
	Zones    []Zone               `json:"zones"`
	Observe  *ObserveStatus       `json:"observe,omitempty" doc:"only where mode is observe"`
}

// NodeStatus is the process and what it serves.
type NodeStatus struct {
	Name       string           `json:"name" example:"edge-a1"`
	Site       string           `json:"site,omitempty" example:"city-a"`
	Mode       string           `json:"mode" enum:"serve,observe"`
	Roles      []string         `json:"roles,omitempty"`
	PID        int              `json:"pid"`
	Started    time.Time        `json:"started"`
	Now        time.Time        `json:"now" doc:"the node's clock"`
	Config     string           `json:"config" doc:"path of the configuration file"`
	Loaded     time.Time        `json:"loaded" doc:"when the configuration was last loaded"`
	DataDir    string           `json:"data_dir"`
	Readiness  Readiness        `json:"readiness"`
	Listen     []netip.AddrPort `json:"listen" doc:"where DNS is answered, UDP and TCP"`
	Revision   RevisionStatus   `json:"revision"`
	ConfirmBy  time.Time        `json:"confirm_by,omitzero" doc:"the configuration goes back at this time unless confirmed"`
	LastReload *ReloadFailure   `json:"last_reload,omitempty" doc:"the last reload, where it was refused"`
}

// RevisionStatus names a decision.
type RevisionStatus struct {
	Number uint64    `json:"number"`
	Digest string    `json:"digest" doc:"hexadecimal; the same on every node that decided the same"`
	Made   time.Time `json:"made"`
}

// ReloadFailure is why the configuration on the disk is not the one that runs.
type ReloadFailure struct {
	At       time.Time `json:"at"`
	Problems []Problem `json:"problems"`
}

// Zone is one configured zone and what is served of it.
type Zone struct {
	Name     string        `json:"name" example:"shop.example."`
	File     string        `json:"file"`
	Source   string        `json:"source" enum:"file,last-good,running,rollback,none" doc:"where what is served comes from; none answers SERVFAIL"`
	Serial   uint32        `json:"serial,omitempty"`
	Records  int           `json:"records"`
	Digest   string        `json:"digest,omitempty" doc:"hexadecimal, of the canonical content"`
	Loaded   time.Time     `json:"loaded,omitzero"`
	Problem  string        `json:"problem,omitempty" doc:"why the file is not what is served"`
	Warnings []Problem     `json:"warnings,omitempty"`
	Names    []string      `json:"names,omitempty" doc:"names in it whose A and AAAA come from steering"`
	Versions []ZoneVersion `json:"versions,omitempty" doc:"kept versions, the newest first"`
}

// ZoneVersion is a version of a zone that rollback can serve again.
type ZoneVersion struct {
	Serial  uint32    `json:"serial"`
	Records int       `json:"records"`
	Digest  string    `json:"digest"`
	Taken   time.Time `json:"taken" doc:"when it was first served"`
	Serving bool      `json:"serving,omitempty"`
}

// ZoneDiff is what the zone's file would change.
type ZoneDiff struct {
	Name         string    `json:"name"`
	Unserved     bool      `json:"unserved,omitempty" doc:"nothing is served of the zone: it answers SERVFAIL"`
	From         uint32    `json:"from" doc:"serial that is served"`
	To           uint32    `json:"to" doc:"serial of the file"`
	Added        []string  `json:"added" doc:"records in presentation form, the first 10,000"`
	AddedCount   int       `json:"added_count" doc:"all of them"`
	Removed      []string  `json:"removed" doc:"the same of what goes"`
	RemovedCount int       `json:"removed_count"`
	Refused      string    `json:"refused,omitempty" doc:"why a reload would not take the file without accept"`
	Notes        []Problem `json:"notes,omitempty" doc:"warnings about the file"`
}

// Problem is one fault or warning in a file.
type Problem struct {
	File   string `json:"file,omitempty"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
	Text   string `json:"text"`
}

// String is the problem as compilers print theirs: file:line:column: text.
func (p Problem) String() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File)
		for _, n := range []int{p.Line, p.Column} {
			if n > 0 {
				fmt.Fprintf(&b, ":%d", n)
			}
		}
		b.WriteString(": ")
	}
	b.WriteString(p.Text)
	return b.String()
}

// DiffResult is what a configuration would change.
type DiffResult struct {
	Config   string               `json:"config" doc:"path that was read"`
	Names    []policy.PreviewName `json:"names" doc:"the steered names that were compared; changed says which would change"`
	Zones    []ZoneDiff           `json:"zones,omitempty" doc:"zones whose content would change"`
	Unjudged []policy.Unjudged    `json:"unjudged,omitempty" doc:"services that are decided once targets that are new to them are judged"`
	Notes    []string             `json:"notes,omitempty" doc:"what else would change: listeners, targets"`
	Refused  []Problem            `json:"refused,omitempty" doc:"why a reload would refuse it, and what is needed instead; empty: it would not"`
	Warnings []Problem            `json:"warnings,omitempty"`
}

// ReloadRequest asks for the configuration to be loaded again.
type ReloadRequest struct {
	Confirm Duration `json:"confirm,omitzero" doc:"go back after this long unless confirmed; 0: keep it"`
}

// ReloadResult is what a reload did.
type ReloadResult struct {
	Config    string               `json:"config"`
	Revision  uint64               `json:"revision"`
	Names     []policy.PreviewName `json:"names,omitempty" doc:"the steered names; changed says which did"`
	Zones     []Zone               `json:"zones,omitempty" doc:"zones that are not served from their file"`
	Warnings  []Problem            `json:"warnings,omitempty"`
	ConfirmBy time.Time            `json:"confirm_by,omitzero"`
	EndsTrial bool                 `json:"ends_trial,omitempty" doc:"a configuration was on trial, and is not gone back from any more"`
}

// ObserveStatus is where the live servers answer otherwise than this node would.
type ObserveStatus struct {
	Servers  []ObservedServer `json:"servers"`
	Compared time.Time        `json:"compared,omitzero"`
	Names    int              `json:"names" doc:"how many steered names were asked"`
	Differ   []Difference     `json:"differ"`
}

// ObservedServer is one live server that is asked.
type ObservedServer struct {
	Address string `json:"address"`
	Error   string `json:"error,omitempty" doc:"why it could not be asked the last time"`
}

// Difference is one answer of a live server that differs from the decision.
type Difference struct {
	Server string `json:"server"`
	Name   string `json:"name"`
	Type   string `json:"type" example:"A"`
	Live   string `json:"live"`
	Ours   string `json:"ours"`
}

// Duration is a time.Duration that is written as people do: "10m".
type Duration time.Duration

// String is the shortest exact form: "10m", "1h30m".
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil { // days too, as the configuration takes them
		v, err = config.ParseDuration(string(text))
	}
	if err != nil {
		return fmt.Errorf("%q is no duration: expected one like 30s, 10m or 2h", text)
	}
	*d = Duration(v)
	return nil
}
