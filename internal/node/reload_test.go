package node

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"github.com/scloudstack/pharos/internal/api"
	"github.com/scloudstack/pharos/policy"
)

func (r *rig) reload(confirm time.Duration) error {
	_, err := r.node.Reload(r.t.Context(), api.ReloadRequest{Confirm: api.Duration(confirm)}, "root")
	return err
}

// TestOrderDuringALoad: a person's word does not wait for a large zone, or for
// a file on a disk that hangs.
func TestOrderDuringALoad(t *testing.T) {
	r := newRig(t)
	r.start()
	if err := r.node.loading.take(t.Context()); err != nil { // as a load that takes its time
		t.Fatal(err)
	}
	defer r.node.loading.give()
	r.override("city-b")
	r.wantAnswer(addrB)
	if _, err := r.order(policy.Order{Kind: policy.KindOverride, Key: "service/shop", Clear: true}); err != nil {
		t.Fatal(err)
	}
	r.wantAnswer(addrA)
}

// TestReloadOfAFIFO: it is refused, and does not hold the node until somebody writes to it.
func TestReloadOfAFIFO(t *testing.T) {
	for _, name := range []string{"pharos.yaml", "shop.zone"} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.start()
			if err := unix.Rename(r.dir+"/"+name, r.dir+"/aside"); err != nil {
				t.Fatal(err)
			}
			if err := unix.Mkfifo(r.dir+"/"+name, 0o600); err != nil {
				t.Fatal(err)
			}
			done := make(chan error, 1)
			go func() { done <- r.reload(0) }()
			select {
			case err := <-done:
				if text := rejected(t, err); !strings.Contains(text, "expected a regular file") {
					t.Errorf("refused with %s", text)
				}
			case <-time.After(10 * time.Second):
				t.Fatal("the reload hangs")
			}
			r.wantAnswer(addrA)
		})
	}
}

// TestRefusedReloadIsForgotten: what a refused reload read of the zones is no
// measure for the next, and is not what runs on.
func TestRefusedReloadIsForgotten(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	r := newRig(t)
	r.writeZone(1, hosts(100))
	r.start()
	r.wantKept(1)

	r.listen = taken.Addr().String()
	r.writeConfig()
	r.writeZone(2, hosts(85))
	if err := r.reload(0); err == nil {
		t.Fatal("a reload onto an address that is taken succeeds")
	}
	r.listen = "127.0.0.1:0"
	r.writeConfig()
	r.writeZone(3, hosts(72)) // 15 % less than what was refused, 28 % less than what is served
	if text := rejected(t, r.reload(0)); !strings.Contains(text, "20 %") {
		t.Errorf("refused with %s", text)
	}
	if z := r.zone("shop.example."); z.Serial != 1 || len(z.Versions) != 1 {
		t.Errorf("serial %d is served, versions %+v", z.Serial, z.Versions)
	}
	r.write("shop.zone", "broken\n")
	if _, err := r.node.ZoneReload(t.Context(), "shop.example.", false, "root"); err != nil {
		t.Fatal(err)
	}
	if z := r.zone("shop.example."); z.Serial != 1 || z.Source != "running" {
		t.Errorf("serial %d runs on, from %s", z.Serial, z.Source)
	}
}

func hosts(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString("host" + string(rune('a'+i/26)) + string(rune('a'+i%26)) + " A 192.0.2.9\n")
	}
	return b.String()
}

// TestConfirmedIsWhatRan: a file that was edited during a trial is not confirmed with it.
func TestConfirmedIsWhatRan(t *testing.T) {
	r := newRig(t)
	r.start()
	answers := func(name string) string { return liveText(r.ask(name, dns.TypeA), dns.TypeA) }
	r.extraNames = ", first.shop.example."
	r.writeConfig()
	if err := r.reload(time.Hour); err != nil {
		t.Fatal(err)
	}
	r.write("pharos.yaml", "an editor is at work")
	if _, err := r.node.Confirm(t.Context(), "root"); err != nil {
		t.Fatal(err)
	}
	r.extraNames = ", second.shop.example."
	r.writeConfig()
	if err := r.reload(time.Hour); err != nil {
		t.Fatal(err)
	}
	r.restart()
	if first, second := answers("first.shop.example."), answers("second.shop.example."); first != addrA || second != "NXDOMAIN" {
		t.Errorf("after a restart in the trial the confirmed name answers %s, that on trial %s", first, second)
	}
}

// TestZoneLoadedDuringATrialStays: going back is for the configuration.
func TestZoneLoadedDuringATrialStays(t *testing.T) {
	r := newRig(t)
	r.start()
	r.extraNames = ", new.shop.example."
	r.writeConfig()
	if err := r.reload(time.Second); err != nil {
		t.Fatal(err)
	}
	r.writeZone(2, "urgent A 192.0.2.99\n")
	if _, err := r.node.ZoneReload(t.Context(), "shop.example.", false, "root"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the configuration goes back", func() bool {
		return liveText(r.ask("new.shop.example.", dns.TypeA), dns.TypeA) == "NXDOMAIN"
	})
	if got := liveText(r.ask("urgent.shop.example.", dns.TypeA), dns.TypeA); got != "192.0.2.99" {
		t.Errorf("the zone went back too: %s", got)
	}
	r.wantAnswer(addrA)
}

// TestTrialIsMarkedBeforeItRuns: a configuration that ends the process at once
// is not started with again.
func TestTrialIsMarkedBeforeItRuns(t *testing.T) {
	r := newRig(t)
	r.start()
	marked := func() bool {
		k, err := readKept(filepath.Join(r.data, keptFile))
		return err == nil && k.Refused != ""
	}
	r.extraNames = ", new.shop.example."
	r.writeConfig()
	if err := r.node.turn.take(t.Context()); err != nil { // so that it can't run yet
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- r.reload(time.Hour) }()
	eventually(t, "the trial is marked", marked)
	r.node.turn.give()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if _, err := r.node.Confirm(t.Context(), "root"); err != nil {
		t.Fatal(err)
	}

	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	r.listen = taken.Addr().String()
	r.writeConfig()
	if err := r.reload(time.Hour); err == nil {
		t.Fatal("a reload onto an address that is taken succeeds")
	}
	if marked() {
		t.Error("a refused reload leaves a mark")
	}
}

// TestTrialNeedsAWayBack: a configuration is not tried when a restart in the
// trial would start with it, unless the node was told that its disk may fail.
func TestTrialNeedsAWayBack(t *testing.T) {
	for _, volatile := range []bool{false, true} {
		r := newRig(t)
		r.opt.Volatile = volatile
		r.start()
		if err := os.Rename(r.data, r.data+".gone"); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(r.data, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		r.extraNames = ", new.shop.example."
		r.writeConfig()
		err := r.reload(time.Hour)
		got := liveText(r.ask("new.shop.example.", dns.TypeA), dns.TypeA)
		switch {
		case volatile && (err != nil || got != addrA):
			t.Errorf("with --volatile: %v, the new name answers %s", err, got)
		case !volatile && (!errors.Is(err, api.ErrDegraded) || !strings.Contains(err.Error(), "--volatile") || got != "NXDOMAIN"):
			t.Errorf("without --volatile: %v, the new name answers %s", err, got)
		}
		if err := r.reload(0); err != nil { // which promises no way back
			t.Errorf("without --confirm, volatile %v: %v", volatile, err)
		}
		if got := liveText(r.ask("new.shop.example.", dns.TypeA), dns.TypeA); got != addrA {
			t.Errorf("without --confirm, volatile %v: the new name answers %s", volatile, got)
		}
	}
}

// TestConfirmedConfigurationOfAnotherFolder has the kept configuration name another data folder than the one that it was
// found in: the node starts with what is on the disk, and says why.
func TestConfirmedConfigurationOfAnotherFolder(t *testing.T) {
	r := newRig(t)
	r.start()
	r.extraNames = ", new.shop.example."
	r.writeConfig()
	if err := r.reload(time.Hour); err != nil {
		t.Fatal(err)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(r.data, keptFile)
	k, err := readKept(path)
	if err != nil {
		t.Fatal(err)
	}
	main := k.Files[r.configPath()]
	k.Files[r.configPath()] = bytes.Replace(main, []byte(r.data), []byte(r.data+"-before"), 1)
	text, err := json.Marshal(k)
	if err != nil {
		t.Fatal(err)
	}
	if err := writeFile(path, text); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	r.opt.Log = slog.New(slog.NewTextHandler(&log, nil))
	n, err := r.make()
	if err != nil {
		t.Fatal(err)
	}
	n.Close()
	want := fmt.Sprintf(`error="its data_dir is %s-before, expected %s, which holds it"`, r.data, r.data)
	if !strings.Contains(log.String(), want) {
		t.Errorf("want %s in\n%s", want, log.String())
	}
}
