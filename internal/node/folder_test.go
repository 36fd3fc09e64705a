package node

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"github.com/scloudstack/pharos/policy"
)

// A folder that was used and has no database any more is told of; one that is new, was
// emptied, or holds a key that people made before the first start, is not.
func TestDatabaseMissing(t *testing.T) {
	r := newRig(t)
	r.start()
	r.override("city-b")
	r.wantAlarm("disk-damaged", false)
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(r.data, storeFile)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	r.start()
	if all := r.status().Alarms; !slices.ContainsFunc(all, func(a policy.AlarmStatus) bool {
		return a.Cause == "disk-damaged" && strings.Contains(a.Text, file+" is not there") && strings.Contains(a.Text, "orders that no other node holds are gone")
	}) {
		t.Errorf("alarms %+v", all)
	}
	r.override("city-b") // it writes all the same
	r.restart()
	r.wantAlarm("disk-damaged", false)

	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	key, err := os.ReadFile(filepath.Join(r.data, "node.key"))
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(os.RemoveAll(r.data), os.Mkdir(r.data, 0o700), os.WriteFile(filepath.Join(r.data, "node.key"), key, 0o600))
	if err != nil {
		t.Fatal(err)
	}
	r.start()
	r.wantAlarm("disk-damaged", false)
}

// What stands in the place of a file of the data folder, and is none, holds no start up.
func TestFolderHoldsFIFOs(t *testing.T) {
	r := newRig(t)
	r.start()
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	copies, err := filepath.Glob(filepath.Join(r.data, "zones", "*.zone"))
	if err != nil || len(copies) == 0 {
		t.Fatalf("copies of zones: %v, %v", copies, err)
	}
	for _, path := range append(copies, filepath.Join(r.data, storeFile), filepath.Join(r.data, keptFile), filepath.Join(r.data, keptFile+".new")) {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		if err := unix.Mkfifo(path, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r.start()
	r.wantAlarm("disk", true)
	if m := r.ask("shop.example.", dns.TypeSOA); m.Rcode != dns.RcodeSuccess || len(m.Answer) != 1 {
		t.Errorf("answer %v", m)
	}
	if _, err := r.order(policy.Order{Kind: policy.KindDrain, Key: "site/city-a", Reason: "test", Author: "ann"}); err == nil || !strings.Contains(err.Error(), "could not be read at the start") {
		t.Errorf("the order got %v", err)
	}
}

// A copy of the configuration without end is not read.
func TestKeptConfigurationWithoutEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), keptFile)
	if err := os.Symlink("/dev/zero", path); err != nil {
		t.Fatal(err)
	}
	if _, err := readKept(path); err == nil || !strings.Contains(err.Error(), "found a device") {
		t.Errorf("error %v", err)
	}
}
