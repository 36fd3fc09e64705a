package node

import (
	"context"
	"errors"
	"log/slog"
	"net"
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

func TestFailoverAndReturn(t *testing.T) {
	r := newRig(t)
	r.start()
	r.wantAnswer(addrA)
	if got := liveText(r.ask("mail.shop.example.", dns.TypeA), dns.TypeA); got != "192.0.2.25" {
		t.Errorf("static data answers %s", got)
	}

	failed := time.Now()
	r.cityA.down.Store(true)
	eventually(t, "city-b answers", func() bool { return r.answer() == addrB })
	limit := rigInterval*rigFall + 500*time.Millisecond
	if took := time.Since(failed); took > limit {
		t.Errorf("failover took %v, want %v at most", took, limit)
	}
	for range 20 {
		r.wantAnswer(addrB)
	}

	before := r.cityA.asks.Load()
	r.cityA.down.Store(false)
	eventually(t, "city-a answers again", func() bool { return r.answer() == addrA })
	// One check may have been under way when it was mended.
	if asks := r.cityA.asks.Load() - before; asks < rigRise {
		t.Errorf("city-a is back after %d checks, want %d at least", asks, rigRise)
	}
}

func TestFirstAnswerKnowsWhatIsDown(t *testing.T) {
	r := newRig(t)
	r.cityA.down.Store(true)
	r.start()
	r.wantAnswer(addrB)
}

func TestOverrideChangesTheNextAnswerAndIsKept(t *testing.T) {
	r := newRig(t)
	r.start()
	dry, err := r.node.Order(t.Context(), policy.Order{
		Kind: policy.KindOverride, Key: "service/shop", Override: &policy.Override{Site: "city-b"}, Author: "root", Reason: "test",
	}, api.Giving{DryRun: true})
	if err != nil || len(dry.Preview.Names) != 1 || !dry.Preview.Names[0].Changed {
		t.Errorf("the dry run says %+v, %v", dry, err)
	}
	r.wantAnswer(addrA)
	for range 5 {
		r.override("city-b")
		r.wantAnswer(addrB)
		if _, err := r.order(policy.Order{Kind: policy.KindOverride, Key: "service/shop", Clear: true}); err != nil {
			t.Fatal(err)
		}
		r.wantAnswer(addrA)
	}
	r.override("city-b")
	r.restart()
	r.wantAnswer(addrB)
	if got := r.status().Decision.Overrides; len(got) != 1 || got[0].Reason != "test" || got[0].Author != "root" {
		t.Errorf("overrides after a restart: %+v", got)
	}
}

func TestHealthIsKeptOverARestart(t *testing.T) {
	r := newRig(t)
	r.start()
	r.cityA.down.Store(true)
	eventually(t, "city-b answers", func() bool { return r.answer() == addrB })
	since := r.endpoint("city-a").Since
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	r.start()
	r.wantAnswer(addrB)
	if e := r.endpoint("city-a"); e.Health != policy.Down || !e.Since.Equal(since) { // not found anew
		t.Errorf("city-a is %v since %v after a restart, want down since %v", e.Health, e.Since, since)
	}
	r.cityA.down.Store(false)
	eventually(t, "city-a answers again", func() bool { return r.answer() == addrA })
}

func TestOrdersThatMakeNoSense(t *testing.T) {
	r := newRig(t)
	r.start()
	tests := map[string]struct {
		order policy.Order
		is    error
	}{
		"unknown service": {policy.Order{Kind: policy.KindOverride, Key: "service/nil", Override: &policy.Override{Site: "city-b"}}, api.ErrInvalid},
		"unknown site":    {policy.Order{Kind: policy.KindOverride, Key: "service/shop", Override: &policy.Override{Site: "nil"}}, api.ErrInvalid},
	}
	for name, tc := range tests {
		if _, err := r.order(tc.order); !errors.Is(err, tc.is) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := r.order(policy.Order{Kind: policy.KindDrain, Key: "site/city-a"})
	if err != nil {
		t.Fatal(err)
	}
	r.wantAnswer(addrB)
	var refusal *policy.Refusal
	if _, err := r.order(policy.Order{Kind: policy.KindDrain, Key: "site/city-b"}); !errors.As(err, &refusal) || refusal.Rule != "last-endpoint" {
		t.Errorf("draining the last endpoint: %v", err)
	}
	if _, err := r.node.Explain(t.Context(), policy.Query{Name: "nil.shop.example."}); !errors.Is(err, api.ErrNotFound) {
		t.Errorf("explain of an unknown name: %v", err)
	}
	e, err := r.node.Explain(t.Context(), policy.Query{Name: "www.shop.example."})
	if err != nil || !strings.Contains(e.Answer, addrB) {
		t.Errorf("explain: %+v, %v", e, err)
	}
}

func TestReload(t *testing.T) {
	r := newRig(t)
	r.start()
	eventually(t, "city-a is up", func() bool { return r.endpoint("city-a").Health == policy.Up })
	before, addrs := r.endpoint("city-a"), r.node.Addrs()

	r.extraNames = ", new.shop.example."
	r.writeConfig()
	diff, err := r.node.Diff(t.Context(), "")
	if err != nil || len(diff.Names) == 0 {
		t.Errorf("diff: %+v, %v", diff, err)
	}
	if got := liveText(r.ask("new.shop.example.", dns.TypeA), dns.TypeA); got != "NXDOMAIN" {
		t.Errorf("before the reload the new name answers %s", got)
	}
	result, err := r.node.Reload(t.Context(), api.ReloadRequest{}, "root")
	if err != nil {
		t.Fatal(err)
	}
	if result.Revision != r.status().Node.Revision.Number {
		t.Errorf("the reload says revision %d, status %d", result.Revision, r.status().Node.Revision.Number)
	}
	if got := liveText(r.ask("new.shop.example.", dns.TypeA), dns.TypeA); got != addrA {
		t.Errorf("after the reload the new name answers %s", got)
	}
	after := r.endpoint("city-a")
	if after.Health != policy.Up || !after.Since.Equal(before.Since) {
		t.Errorf("health was %v since %v and is %v since %v", before.Health, before.Since, after.Health, after.Since)
	}
	if got := r.node.Addrs(); len(got) != 1 || got[0] != addrs[0] {
		t.Errorf("the listener moved from %v to %v", addrs, got)
	}

	// A bad file changes nothing and says why, with the place.
	r.write("pharos.yaml", "nodes: {a1: {site: nil}}\nunknown: 1\n")
	_, err = r.node.Reload(t.Context(), api.ReloadRequest{}, "root")
	if text := rejected(t, err); !strings.Contains(text, "pharos.yaml:2:1") || !strings.Contains(text, "unknown") {
		t.Errorf("the refusal says\n%s", text)
	}
	r.wantAnswer(addrA)
	r.wantAlarm("reload", true)
	if r.status().Node.LastReload == nil {
		t.Error("status does not show the refused reload")
	}
	if _, err := r.node.Diff(t.Context(), ""); err == nil {
		t.Error("the diff of a bad file is no error")
	}

	// What can't change under way is refused by name.
	r.extra = "mode: observe\n"
	r.writeConfig()
	_, err = r.node.Reload(t.Context(), api.ReloadRequest{}, "root")
	if text := rejected(t, err); !strings.Contains(text, "restart") {
		t.Errorf("the refusal says\n%s", text)
	}
	r.extra = ""
	r.writeConfig()
	if _, err := r.node.Reload(t.Context(), api.ReloadRequest{}, "root"); err != nil {
		t.Error(err)
	}
	r.wantAlarm("reload", false)
}

func TestReloadMovesListenersWholeOrNotAtAll(t *testing.T) {
	r := newRig(t)
	r.start()
	before := r.node.Addrs()[0]
	taken, err := net.Listen("tcp", "127.61.9.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()

	r.listen = taken.Addr().String()
	r.extraNames = ", new.shop.example."
	r.writeConfig()
	_, err = r.node.Reload(t.Context(), api.ReloadRequest{}, "root")
	if text := rejected(t, err); !strings.Contains(text, r.listen) {
		t.Errorf("the refusal says\n%s", text)
	}
	if got := r.node.Addrs(); len(got) != 1 || got[0] != before {
		t.Errorf("after a refused reload DNS listens on %v, want %v", got, before)
	}
	if got := liveText(r.ask("new.shop.example.", dns.TypeA), dns.TypeA); got != "NXDOMAIN" {
		t.Errorf("half of the refused configuration is served: %s", got)
	}

	r.listen = "127.61.9.2:0"
	r.writeConfig()
	if _, err := r.node.Reload(t.Context(), api.ReloadRequest{}, "root"); err != nil {
		t.Fatal(err)
	}
	if got := r.node.Addrs(); len(got) != 1 || got[0].Addr().String() != "127.61.9.2" {
		t.Errorf("DNS listens on %v", got)
	}
	r.wantAnswer(addrA)
}

func TestUnconfirmedReloadGoesBack(t *testing.T) {
	r := newRig(t)
	r.start()
	if _, err := r.node.Confirm(t.Context(), "root"); !errors.Is(err, api.ErrConflict) {
		t.Errorf("confirming nothing: %v", err)
	}
	newName := func() string { return liveText(r.ask("new.shop.example.", dns.TypeA), dns.TypeA) }
	try := func(confirm time.Duration) {
		t.Helper()
		if _, err := r.node.Reload(t.Context(), api.ReloadRequest{Confirm: api.Duration(confirm)}, "root"); err != nil {
			t.Fatal(err)
		}
		if got := newName(); got != addrA {
			t.Errorf("on trial the new name answers %s", got)
		}
	}
	r.extraNames = ", new.shop.example."
	r.writeConfig()
	try(300 * time.Millisecond)
	r.wantAlarm("unconfirmed", true)
	eventually(t, "the configuration goes back", func() bool { return newName() == "NXDOMAIN" })
	eventually(t, "the trial's alarm ends", func() bool { return !slices.Contains(r.alarms(), "unconfirmed") })
	r.wantAlarm("went-back", true)
	r.wantAnswer(addrA)

	// It is not started again by itself, though it is the file on the disk.
	r.restart()
	if got := newName(); got != "NXDOMAIN" {
		t.Errorf("after a restart the configuration that went back runs: %s", got)
	}
	r.wantAlarm("went-back", true)

	// Nor is one that a restart finds on trial.
	try(time.Hour)
	r.wantAlarm("went-back", false)
	r.restart()
	if got := newName(); got != "NXDOMAIN" {
		t.Errorf("after a restart the unconfirmed configuration runs: %s", got)
	}

	// Confirmed it stays, past its time and over a restart.
	try(300 * time.Millisecond)
	if _, err := r.node.Confirm(t.Context(), "root"); err != nil {
		t.Fatal(err)
	}
	past := time.NewTimer(400 * time.Millisecond)
	<-past.C
	if got := newName(); got != addrA {
		t.Errorf("the confirmed configuration went back: %s", got)
	}
	r.restart()
	if got := newName(); got != addrA {
		t.Errorf("after a restart the confirmed configuration does not run: %s", got)
	}

	// A file that a person changed since is started with.
	r.extraNames = ""
	r.writeConfig()
	if _, err := r.node.Reload(t.Context(), api.ReloadRequest{Confirm: api.Duration(time.Hour)}, "root"); err != nil {
		t.Fatal(err)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	r.extraNames = ", other.shop.example."
	r.writeConfig()
	r.start()
	if got := liveText(r.ask("other.shop.example.", dns.TypeA), dns.TypeA); got != addrA {
		t.Errorf("a changed file is not started with: %s", got)
	}
}

func TestHangupReloads(t *testing.T) {
	r := newRig(t)
	hangup := make(chan os.Signal, 1)
	r.opt.Hangup = hangup
	r.start()
	r.extraNames = ", new.shop.example."
	r.writeConfig()
	hangup <- os.Interrupt
	eventually(t, "the new name answers", func() bool {
		return liveText(r.ask("new.shop.example.", dns.TypeA), dns.TypeA) == addrA
	})
}

// A signal confirms no trial, which then goes back; a person's reload ends one and says so.
func TestHangupConfirmsNoTrial(t *testing.T) {
	r := newRig(t)
	hangup := make(chan os.Signal) // taken only by one that waits for the next
	r.opt.Hangup = hangup
	var text lockedBuffer
	r.opt.Log = slog.New(slog.NewTextHandler(&text, nil))
	r.start()
	r.extraNames = ", new.shop.example."
	r.writeConfig()
	if err := r.reload(time.Hour); err != nil {
		t.Fatal(err)
	}
	r.extraNames = ", newer.shop.example."
	r.writeConfig()
	hangup <- os.Interrupt
	hangup <- os.Interrupt // the first has been followed
	if by := r.node.situation().confirmBy; by.IsZero() {
		t.Error("the trial is over")
	}
	if got := liveText(r.ask("newer.shop.example.", dns.TypeA), dns.TypeA); got != "NXDOMAIN" {
		t.Errorf("the new name answers %s", got)
	}
	if !strings.Contains(text.String(), "level=ERROR") || !strings.Contains(text.String(), "a configuration is on trial. 'pharos reload confirm' keeps it") {
		t.Errorf("the log:\n%s", text.String())
	}
	result, err := r.node.Reload(t.Context(), api.ReloadRequest{}, "ann")
	if err != nil || !result.EndsTrial || !r.node.situation().confirmBy.IsZero() {
		t.Errorf("a reload by a person: %+v, %v", result, err)
	}
	result, err = r.node.Reload(t.Context(), api.ReloadRequest{}, "ann")
	if err != nil || result.EndsTrial {
		t.Errorf("without a trial: %+v, %v", result, err)
	}
}

// The data folder goes: DNS and deciding go on, orders are refused with the
// reason, and taken in memory only where the node was told so.
func TestDiskGone(t *testing.T) {
	for _, volatile := range []bool{false, true} {
		r := newRig(t)
		r.opt.Volatile = volatile
		r.start()
		r.override("city-a")
		if err := os.Rename(r.data, r.data+".gone"); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(r.data, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		result, err := r.order(policy.Order{Kind: policy.KindOverride, Key: "service/shop", Override: &policy.Override{Site: "city-b"}})
		if volatile {
			if err != nil || !strings.Contains(result.Partial, "memory") {
				t.Errorf("with --volatile: %+v, %v", result, err)
			}
			r.wantAnswer(addrB)
		} else {
			if !errors.Is(err, api.ErrDegraded) || !strings.Contains(err.Error(), "--volatile") {
				t.Errorf("without --volatile: %v", err)
			}
			r.wantAnswer(addrA)
			r.cityA.down.Store(true)
			r.cityB.down.Store(true)
			eventually(t, "deciding goes on", func() bool { return r.endpoint("city-a").Health == policy.Down })
			r.cityA.down.Store(false)
		}
		r.wantAlarm("disk", true)

		// It comes back, with all that is in memory.
		if err := errors.Join(os.Remove(r.data), os.Rename(r.data+".gone", r.data)); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the disk writes again", func() bool { return r.node.disk.State().trouble() == nil })
		r.wantAlarm("disk", false)
		r.restart()
		want := policy.SiteID("city-a")
		if volatile {
			want = "city-b"
		}
		if got := r.status().Decision.Overrides; len(got) != 1 || got[0].Override.Site != want {
			t.Errorf("volatile %v: after a restart the overrides are %+v, want %s", volatile, got, want)
		}
	}
}

// A host that lacks what every check needs: nothing is held against the
// targets, and an alarm says why nothing is seen.
func TestHostCanCheckNothing(t *testing.T) {
	r := newRig(t)
	r.start()
	eventually(t, "all are up", func() bool { return r.endpoint("remote").Health == policy.Up })
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	set := func(l unix.Rlimit) {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
			t.Fatal(err)
		}
	}
	defer set(limit)
	for _, b := range []*balancer{&r.cityA, &r.cityB, &r.remote} {
		b.closes.Store(true)
	}
	set(unix.Rlimit{Cur: 0, Max: limit.Max}) // those that are open stay
	alarmed := func() bool { return slices.Contains(r.alarms(), "probes") }
	eventually(t, "the alarm", alarmed)
	if got := r.endpoint("city-a").Health; got != policy.Up {
		t.Errorf("city-a is %v", got)
	}
	set(limit)
	eventually(t, "the alarm ends", func() bool { return !alarmed() })
	r.wantAnswer(addrA)
}

// The disk hangs: the person is told and nothing else waits. Should the disk
// take the order after all, it counts.
func TestOrderWhileTheDiskHangs(t *testing.T) {
	r := newRig(t)
	r.start()
	release := make(chan struct{})
	defer close(release)
	// What is called when an order is stored runs on the disk's goroutine.
	hung := make(chan struct{})
	r.node.disk.Store(nil, func(error) {
		close(hung)
		<-release
	})
	<-hung
	given := make(chan error, 1)
	go func() {
		_, err := r.order(policy.Order{Kind: policy.KindOverride, Key: "service/shop", Override: &policy.Override{Site: "city-b"}})
		given <- err
	}()
	r.cityA.down.Store(true)
	eventually(t, "deciding goes on", func() bool { return r.answer() == addrB })
	r.cityA.down.Store(false)
	eventually(t, "deciding goes on", func() bool { return r.answer() == addrA })
	if err := <-given; !errors.Is(err, api.ErrDegraded) || !strings.Contains(err.Error(), "not answered") {
		t.Errorf("the order got %v", err)
	}
	r.wantAnswer(addrA)
	release <- struct{}{}
	eventually(t, "the order counts", func() bool { return r.answer() == addrB })
	if (DiskState{Busy: time.Now().Add(-time.Minute)}).trouble() == nil {
		t.Error("a write of a minute ago is no trouble")
	}
}

// A data folder that is no folder must not keep DNS from starting.
func TestStartWithoutADisk(t *testing.T) {
	r := newRig(t)
	if err := os.WriteFile(r.data, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r.start()
	r.wantAnswer(addrA)
	r.wantAlarm("disk", true)
	eventually(t, "the API's fault is said", func() bool { return strings.Contains(strings.Join(r.alarms(), " "), "api") })
	if err := os.Remove(r.data); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the API opens", func() bool {
		_, err := os.Stat(filepath.Join(r.data, api.SocketName))
		return err == nil
	})
	eventually(t, "the alarms end", func() bool { return len(r.alarms()) == 0 })
	r.override("city-b")
	r.wantAnswer(addrB)
}

func TestSecondNodeOnOneFolder(t *testing.T) {
	r := newRig(t)
	r.start()
	if _, err := r.make(); !errors.Is(err, ErrInUse) {
		t.Errorf("a second node got %v", err)
	}
	r.wantAnswer(addrA)
}

// A part that can't do its work ends the node, with its name, and in order.
func TestPartThatDies(t *testing.T) {
	taken, err := net.ListenPacket("udp", "127.61.9.3:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	r := newRig(t)
	r.listen = taken.LocalAddr().String()
	r.writeConfig()
	n, err := r.make()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	err = n.Run(ctx)
	if err == nil || ctx.Err() != nil || !strings.HasPrefix(err.Error(), "dns: ") || !strings.Contains(err.Error(), r.listen) {
		t.Errorf("the node ended with %v", err)
	}
	// The folder is free again.
	again, err := r.make()
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}

func TestServiceManagerIsTold(t *testing.T) {
	name := filepath.Join(t.TempDir(), "n.sock")
	c := listenNotify(t, name)
	r := newRig(t)
	t.Setenv("NOTIFY_SOCKET", name)
	r.start()
	if got := heard(t, c); !strings.HasPrefix(got, "READY=1") {
		t.Errorf("heard %q", got)
	}
	if _, err := r.node.Reload(t.Context(), api.ReloadRequest{}, "root"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"RELOADING=1", "READY=1"} {
		if got := heard(t, c); !strings.HasPrefix(got, want) {
			t.Errorf("heard %q, want %s", got, want)
		}
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if got := heard(t, c); !strings.HasPrefix(got, "STOPPING=1") {
		t.Errorf("heard %q", got)
	}
}
