package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"github.com/scloudstack/pharos/internal/api"
	"github.com/scloudstack/pharos/policy"
)

const otherZone = `$ORIGIN other.example.
$TTL 300
@ IN SOA ns1 hostmaster %d 3600 600 604800 60
  IN NS  ns1
ns1 IN A 192.0.2.54
%s`

// withOther adds a second zone to the configuration.
func (r *rig) withOther() {
	r.t.Helper()
	r.writeOther(1, "")
	r.extra = ""
	r.writeConfig()
	r.write("more.yaml", "dns: {zones: [{name: other.example., file: other.zone}]}\n")
	r.extra = "include: more.yaml\n"
	r.writeConfig()
}

func (r *rig) writeOther(serial int, more string) {
	r.t.Helper()
	r.write("other.zone", fmt.Sprintf(otherZone, serial, more))
}

func (r *rig) other() string {
	r.t.Helper()
	return liveText(r.ask("ns1.other.example.", dns.TypeA), dns.TypeA)
}

func (r *rig) zone(name string) api.Zone {
	r.t.Helper()
	all, err := r.node.Zones(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	for _, z := range all {
		if z.Name == name {
			return z
		}
	}
	r.t.Fatalf("no zone %s in %+v", name, all)
	return api.Zone{}
}

func TestOneBadZoneAmongOthers(t *testing.T) {
	r := newRig(t)
	r.withOther()
	r.write("other.zone", "this is no zone\n")
	r.start()
	r.wantAnswer(addrA)
	if got := r.other(); got != "SERVFAIL" {
		t.Errorf("a zone without any good version answers %s", got)
	}
	if z := r.zone("other.example."); z.Source != "none" || !strings.Contains(z.Problem, "other.zone:1") {
		t.Errorf("its status is %+v", z)
	}
	r.wantAlarm("zone/other.example.", true)
	if result, err := r.order(policy.Order{Kind: policy.KindAck, Key: "zone/other.example."}); err != nil || !result.Local || result.Author != "root" {
		t.Errorf("%+v, %v", result, err)
	}
	if a := r.status().Alarms; len(a) != 1 || !a[0].Acknowledged || a[0].AckedBy != "root" {
		t.Errorf("acknowledged: %+v", a)
	}
	if _, err := r.order(policy.Order{Kind: policy.KindAck, Key: "zone/nil."}); !errors.Is(err, api.ErrInvalid) {
		t.Errorf("acknowledging what is not there: %v", err)
	}

	// It does not stop a reload that has nothing to do with it.
	r.extraNames = ", new.shop.example."
	r.writeConfig()
	result, err := r.node.Reload(t.Context(), api.ReloadRequest{}, "root")
	if err != nil || len(result.Zones) != 1 {
		t.Errorf("reload: %+v, %v", result, err)
	}

	// Mended.
	r.writeOther(1, "")
	zones, err := r.node.ZoneReload(t.Context(), "other.example.", false, "root")
	if err != nil || len(zones) != 1 || zones[0].Source != "file" {
		t.Errorf("zone reload: %+v, %v", zones, err)
	}
	if got := r.other(); got != "192.0.2.54" {
		t.Errorf("the mended zone answers %s", got)
	}
	r.wantAlarm("zone/other.example.", false)
	if got := liveText(r.ask("new.shop.example.", dns.TypeA), dns.TypeA); got != addrA {
		t.Errorf("the new name answers %s", got)
	}

	// Broken again before a restart: the last good copy.
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	r.write("other.zone", "this is no zone\n")
	r.start()
	if got := r.other(); got != "192.0.2.54" {
		t.Errorf("from its last good copy the zone answers %s", got)
	}
	if z := r.zone("other.example."); z.Source != "last-good" || z.Problem == "" {
		t.Errorf("its status is %+v", z)
	}
}

// TestAlarmOfAZoneWithSeveralFaults wants one sentence, and all faults with the zone.
func TestAlarmOfAZoneWithSeveralFaults(t *testing.T) {
	r := newRig(t)
	r.withOther()
	r.writeOther(1, "x IN A nonsense\ny IN A nonsense\nz IN A nonsense\n")
	r.start()
	alarms := r.status().Alarms
	if len(alarms) != 1 || strings.Contains(alarms[0].Text, "\n") || !strings.Contains(alarms[0].Text, "other.zone:6: ") || !strings.HasSuffix(alarms[0].Text, " (and 2 more)") {
		t.Errorf("the alarms are %+v", alarms)
	}
	if z := r.zone("other.example."); strings.Count(z.Problem, "\n") != 2 {
		t.Errorf("the zone's faults are %q", z.Problem)
	}
}

func TestZoneBrokenAtReload(t *testing.T) {
	r := newRig(t)
	r.withOther()
	r.start()
	r.write("other.zone", "this is no zone\n")
	r.extraNames = ", new.shop.example."
	r.writeConfig()
	_, err := r.node.Reload(t.Context(), api.ReloadRequest{}, "root")
	if text := rejected(t, err); !strings.Contains(text, "other.zone:1") {
		t.Errorf("the refusal says\n%s", text)
	}
	if got := r.other(); got != "192.0.2.54" {
		t.Errorf("the running zone answers %s", got)
	}
	if got := liveText(r.ask("new.shop.example.", dns.TypeA), dns.TypeA); got != "NXDOMAIN" {
		t.Errorf("half of the refused configuration is served: %s", got)
	}
	zones, err := r.node.ZoneReload(t.Context(), "", false, "root")
	if err != nil || len(zones) != 2 {
		t.Fatalf("zone reload: %+v, %v", zones, err)
	}
	for _, z := range zones {
		if want := z.Name == "other.example."; (z.Problem != "") != want {
			t.Errorf("%s: problem %q", z.Name, z.Problem)
		}
	}
	if got := r.other(); got != "192.0.2.54" {
		t.Errorf("the running zone answers %s", got)
	}
}

// wantKept waits until so many versions of shop.example are kept.
func (r *rig) wantKept(want int) {
	r.t.Helper()
	eventually(r.t, "versions are kept", func() bool { return len(r.zone("shop.example.").Versions) == want })
}

// TestDNSIsOpenBeforeVersionsAreKept: a slow disk does not keep a first start
// from answering, and what could not be kept is told.
func TestDNSIsOpenBeforeVersionsAreKept(t *testing.T) {
	r := newRig(t)
	if err := os.MkdirAll(filepath.Join(r.data, "zones"), 0o700); err != nil {
		t.Fatal(err)
	}
	slow := filepath.Join(r.data, "zones", "shop.example.tmp")
	if err := unix.Mkfifo(slow, 0o600); err != nil { // opens when somebody reads it, and can't be synced
		t.Fatal(err)
	}
	r.start()
	r.wantAnswer(addrA)
	if z := r.zone("shop.example."); len(z.Versions)+len(z.Warnings) > 0 {
		t.Errorf("the disk is not slow: %+v", z)
	}
	f, err := os.Open(slow)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, f); err != nil {
		t.Error(err)
	}
	f.Close()
	told := func() bool {
		return slices.ContainsFunc(r.zone("shop.example.").Warnings, func(p api.Problem) bool { return strings.Contains(p.Text, "no copy of the zone is kept") })
	}
	eventually(t, "it is told that nothing is kept", told)
	if s := r.status().Zones[0]; len(s.Warnings) == 0 {
		t.Errorf("the status does not tell: %+v", s)
	}
	if err := r.reload(0); err != nil {
		t.Fatal(err)
	}
	if z := r.zone("shop.example."); len(z.Versions) != 1 || told() {
		t.Errorf("the next reload does not keep it: %+v", z)
	}
}

// TestRefusedRollbackChangesNothing: neither what is kept nor what is judged.
func TestRefusedRollbackChangesNothing(t *testing.T) {
	r := newRig(t)
	r.writeZone(1, "www IN CNAME mail\n") // at a start it is served all the same
	r.start()
	r.wantKept(1)
	r.writeZone(2, "")
	if err := r.reload(0); err != nil {
		t.Fatal(err)
	}
	if _, err := r.node.ZoneRollback(t.Context(), "shop.example.", "root"); !errors.Is(err, api.ErrConflict) {
		t.Fatalf("rollback to a zone that does not fit: %v", err)
	}
	r.wantKept(2)
	if err := r.reload(0); err != nil {
		t.Fatal(err)
	}
	if z := r.zone("shop.example."); z.Serial != 2 || z.Source != "file" || !z.Versions[0].Serving {
		t.Errorf("after a refused rollback: %+v", z)
	}
	r.wantAnswer(addrA)
}

// A zone that no longer lets a name be steered is refused, also when the zone
// alone is loaded again.
func TestZoneThatDoesNotFitTheSteeredNames(t *testing.T) {
	r := newRig(t)
	r.start()
	r.writeZone(2, "www IN CNAME mail\n")
	_, err := r.node.Reload(t.Context(), api.ReloadRequest{}, "root")
	if text := rejected(t, err); !strings.Contains(text, "www.shop.example.") {
		t.Errorf("the refusal says\n%s", text)
	}
	r.wantAnswer(addrA)
	zones, err := r.node.ZoneReload(t.Context(), "shop.example.", false, "root")
	if err != nil || len(zones) != 1 || zones[0].Problem == "" || zones[0].Serial != 1 {
		t.Errorf("zone reload: %+v, %v", zones, err)
	}
	r.wantAnswer(addrA)

	// At a start the zone is served all the same: the name as the zone has it.
	r.restart()
	if got := r.answer(); got != "192.0.2.25" {
		t.Errorf("www.shop.example answers %s", got)
	}
	r.wantAlarm("zone/shop.example.", true)
}

func TestZoneAcceptDiffRollback(t *testing.T) {
	r := newRig(t)
	r.withOther()
	r.writeOther(10, "a IN A 192.0.2.1\nb IN A 192.0.2.2\nc IN A 192.0.2.3\n")
	r.start()

	r.writeOther(11, "a IN A 192.0.2.1\n")
	diff, err := r.node.ZoneDiff(t.Context(), "other.example.")
	if err != nil || diff.From != 10 || diff.To != 11 || len(diff.Removed) < 2 || !strings.Contains(diff.Refused, "20 %") {
		t.Errorf("diff: %+v, %v", diff, err)
	}
	zones, err := r.node.ZoneReload(t.Context(), "other.example.", false, "root")
	if err != nil || zones[0].Problem == "" || zones[0].Serial != 10 {
		t.Errorf("without accept: %+v, %v", zones, err)
	}
	zones, err = r.node.ZoneReload(t.Context(), "other.example.", true, "root")
	if err != nil || zones[0].Problem != "" || zones[0].Serial != 11 {
		t.Errorf("with accept: %+v, %v", zones, err)
	}
	name := func(n string) string { return liveText(r.ask(n+".other.example.", dns.TypeA), dns.TypeA) }
	if name("a") != "192.0.2.1" || name("b") != "NXDOMAIN" {
		t.Errorf("after accept a is %s, b is %s", name("a"), name("b"))
	}
	z, err := r.node.ZoneRollback(t.Context(), "other.example.", "root")
	if err != nil || z.Serial != 10 || z.Source != "rollback" {
		t.Errorf("rollback: %+v, %v", z, err)
	}
	if name("b") != "192.0.2.2" {
		t.Errorf("after the rollback b is %s", name("b"))
	}
	r.wantAlarm("zone/other.example.", true)
	if got := r.zone("other.example."); len(got.Versions) < 2 || !got.Versions[0].Serving {
		t.Errorf("versions: %+v", got.Versions)
	}
	var dump bytes.Buffer
	if err := r.node.ZoneDump(t.Context(), "other.example.", &dump); err != nil || !strings.Contains(dump.String(), "192.0.2.3") {
		t.Errorf("dump: %v\n%s", err, dump.String())
	}
	if err := r.node.ZoneDump(t.Context(), "nil.example.", &dump); !errors.Is(err, api.ErrNotFound) {
		t.Errorf("dump of an unknown zone: %v", err)
	}
	r.restart()
	if name("b") != "192.0.2.2" {
		t.Errorf("after a restart b is %s: the rollback is forgotten", name("b"))
	}
}

// TestHintsPastTheSteering starts with a zone that leads clients past the steering: it is served, and people are told.
func TestHintsPastTheSteering(t *testing.T) {
	r := newRig(t)
	r.writeZone(1, "www IN HTTPS 1 . ipv4hint=192.0.2.7\n")
	r.start()
	r.wantAnswer(addrA)
	r.wantAlarm("zone/shop.example.", true)
	if z := r.zone("shop.example."); !strings.Contains(z.Problem, "remove ipv4hint") {
		t.Errorf("the zone says %q", z.Problem)
	}
	r.writeZone(2, "www IN HTTPS 1 . alpn=h2\n")
	if err := r.reload(0); err != nil {
		t.Fatal(err)
	}
	r.wantAlarm("zone/shop.example.", false)
}

// TestComparisonsTakeTurns wants the files of one comparison in memory, whoever asks how often.
func TestComparisonsTakeTurns(t *testing.T) {
	r := newRig(t)
	r.start()
	ask := map[string]func(context.Context) error{
		"zone diff":    func(ctx context.Context) error { _, err := r.node.ZoneDiff(ctx, "shop.example."); return err },
		"check --diff": func(ctx context.Context) error { _, err := r.node.Diff(ctx, ""); return err },
	}
	if err := r.node.reading.take(t.Context()); err != nil {
		t.Fatal(err)
	}
	for what, compare := range ask {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		if err := compare(ctx); !errors.Is(err, api.ErrDegraded) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s beside another: %v", what, err)
		}
		cancel()
	}
	r.node.reading.give()
	for what, compare := range ask {
		if err := compare(t.Context()); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestDifferenceCountsAll wants all that a file changes counted, where not all of it is listed, and a zone of which nothing
// is served told from one that is served as the file has it.
func TestDifferenceCountsAll(t *testing.T) {
	r := newRig(t)
	r.withOther()
	r.write("other.zone", "this is no zone\n")
	r.start()
	r.writeOther(1, "$GENERATE 1-10001 h$ IN A 192.0.2.7\n")
	const all = 10001 + 3
	check := func(d api.ZoneDiff) {
		t.Helper()
		if !d.Unserved || d.AddedCount != all || len(d.Added) != 10000 || d.RemovedCount != 0 {
			t.Errorf("unserved %v, added %d, lists %d, removed %d", d.Unserved, d.AddedCount, len(d.Added), d.RemovedCount)
		}
	}
	d, err := r.node.ZoneDiff(t.Context(), "other.example.")
	if err != nil {
		t.Fatal(err)
	}
	check(d)
	whole, err := r.node.Diff(t.Context(), "")
	if err != nil || len(whole.Zones) != 1 {
		t.Fatalf("%+v, %v", whole.Zones, err)
	}
	check(whole.Zones[0])
	if _, err := r.node.ZoneReload(t.Context(), "other.example.", false, "root"); err != nil {
		t.Fatal(err)
	}
	if d, err := r.node.ZoneDiff(t.Context(), "other.example."); err != nil || d.Unserved || d.AddedCount != 0 || d.Added == nil {
		t.Errorf("served as the file has it: %+v, %v", d, err)
	}
}
