package node

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/scloudstack/pharos/cluster"
	"github.com/scloudstack/pharos/policy"
)

// testDisk is an open disk whose goroutine runs.
type testDisk struct {
	*disk
	stored stored
	stop   func()
}

func startDisk(t *testing.T, dir string) testDisk {
	t.Helper()
	d, stored, err := openDisk(dir, quiet(t))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := d.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	stop := func() {
		cancel()
		<-done
	}
	t.Cleanup(stop)
	return testDisk{d, stored, stop}
}

// order stores an order as the node does, and waits for the disk's word.
func (d testDisk) order(t *testing.T, e policy.Entry) error {
	t.Helper()
	answer := make(chan error, 1)
	d.Store(sealed(t, e), func(err error) { answer <- err })
	select {
	case err := <-answer:
		return err
	case <-time.After(20 * time.Second):
		t.Fatal("the disk does not answer")
		return nil
	}
}

// quiet logs into the test's output, until the test is over: probes of memberlist that are under way when a node stops end
// by themselves, seconds later, and what they say would fail the whole run.
func quiet(t *testing.T) *slog.Logger {
	w := &testWriter{t: t}
	t.Cleanup(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.over = true
	})
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

type testWriter struct {
	t    *testing.T
	mu   sync.Mutex
	over bool // guarded by mu
}

func (w *testWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.over {
		w.t.Log(strings.TrimSpace(string(p)))
	}
	return len(p), nil
}

// eventually polls until ok, for as long as a loaded machine may need.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not so within 20 s: %s", what)
		}
		<-tick.C
	}
}

func entry(kind policy.Kind, key string, wall int64, reason string) policy.Entry {
	return policy.Entry{Kind: kind, Key: key, Stamp: policy.Stamp{Wall: wall, Node: "a"}, Author: "root", Reason: reason}
}

// sealed signs entries of the node a.
func sealed(t *testing.T, entries ...policy.Entry) []*cluster.Sealed {
	t.Helper()
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	r, _, err := cluster.New(cluster.Config{Cluster: "test", Self: "a", Key: key, Members: map[policy.NodeID]cluster.Member{
		"a": {Site: "s", PublicKey: key.Public().(ed25519.PublicKey)},
	}}, nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	list, err := r.Seal(entries)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// reasons maps each stored key to the reason of the entry that stayed.
func reasons(s stored) map[string]string {
	m := map[string]string{}
	for _, e := range s.sealed {
		m[string(e.Entry.Kind)+" "+e.Entry.Key] = e.Entry.Reason
	}
	return m
}

func TestDiskKeepsWhatItWasTold(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "by", "it")
	d := startDisk(t, dir)
	if len(d.stored.sealed) > 0 || !d.stored.Stamped.IsZero() {
		t.Errorf("an empty folder holds %+v", d.stored)
	}
	since := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	health := policy.HealthEntry{Target: "t1", State: policy.Down, Since: since, Seen: since, Reason: "refused"}
	move2 := entry(policy.KindMove, "shop/0/2", 20, "second")
	d.Keep(sealed(t, entry(policy.KindMove, "shop/0/1", 10, "first"), move2), nil, []policy.HealthEntry{health})
	if err := d.order(t, entry(policy.KindOverride, "all", 5, "kept")); err != nil {
		t.Fatal(err)
	}
	d.Keep(nil, []policy.EntryKey{{Kind: policy.KindMove, Key: "shop/0/1"}}, nil)
	d.Serving(true)
	d.stop()

	d = startDisk(t, dir)
	want := map[string]string{"move shop/0/2": "second", "override all": "kept"}
	if diff := cmp.Diff(want, reasons(d.stored)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]policy.HealthEntry{health}, d.stored.Health); diff != "" {
		t.Error(diff)
	}
	if age := time.Since(d.stored.Stamped); age < 0 || age > time.Minute {
		t.Errorf("stamped %v ago", age)
	}
}

func TestDiskMergesByKind(t *testing.T) {
	tests := []struct {
		kind   policy.Kind
		walls  []int64
		stayed string // reason is "1", "2", ... in the order of writing
	}{
		{policy.KindOverride, []int64{10, 20}, "2"},
		{policy.KindOverride, []int64{20, 10}, "1"},
		{policy.KindGate, []int64{20, 10, 30}, "3"},
		{policy.KindMove, []int64{10, 20}, "1"},
		{policy.KindMove, []int64{20, 10}, "2"},
		{policy.KindFall, []int64{20, 30, 10}, "3"},
	}
	for _, tc := range tests {
		for _, restart := range []bool{false, true} {
			dir := t.TempDir()
			d := startDisk(t, dir)
			for i, wall := range tc.walls {
				if err := d.order(t, entry(tc.kind, "k", wall, string(rune('1'+i)))); err != nil {
					t.Fatal(err)
				}
				if restart {
					d.stop()
					d = startDisk(t, dir)
				}
			}
			d.stop()
			stored := startDisk(t, dir).stored
			if len(stored.sealed) != 1 || stored.sealed[0].Entry.Reason != tc.stayed {
				t.Errorf("%s %v: stayed %v, want %s", tc.kind, tc.walls, reasons(stored), tc.stayed)
			}
		}
	}
}

// What the machine dropped and a person then ordered under the same key stays.
// TestDiskWritesWhileMoreComes has health change all the time, as where many targets flap:
// a move must not wait for a pause.
func TestDiskWritesWhileMoreComes(t *testing.T) {
	dir := t.TempDir()
	d := startDisk(t, dir)
	eventually(t, "the disk is open", func() bool { return d.State().Pending == 0 && d.State().trouble() == nil })
	begun := time.Now()
	d.Keep(sealed(t, entry(policy.KindMove, "shop/0", 1, "")), nil, nil)
	eventually(t, "the move is written", func() bool {
		d.Keep(nil, nil, []policy.HealthEntry{{Target: "flapping", Since: time.Now()}})
		return d.State().Entries[policy.KindMove] > 0
	})
	if took := time.Since(begun); took > stampEvery/2 {
		t.Errorf("the move was written after %s, with the stamp", took)
	}
}

func TestDiskDropsBeforeItWrites(t *testing.T) {
	dir := t.TempDir()
	d := startDisk(t, dir)
	if err := d.order(t, entry(policy.KindOverride, "all", 1, "old")); err != nil {
		t.Fatal(err)
	}
	d.Keep(nil, []policy.EntryKey{{Kind: policy.KindOverride, Key: "all"}}, nil)
	if err := d.order(t, entry(policy.KindOverride, "all", 2, "new")); err != nil {
		t.Fatal(err)
	}
	d.stop()
	if got := reasons(startDisk(t, dir).stored)["override all"]; got != "new" {
		t.Errorf("the override is %q, want the new one", got)
	}
}

func TestDiskIsForOneNode(t *testing.T) {
	dir := t.TempDir()
	d := startDisk(t, dir)
	_, _, err := openDisk(dir, quiet(t))
	if !errors.Is(err, ErrInUse) {
		t.Fatalf("a second node got %v", err)
	}
	for _, want := range []string{dir, "process", "--data-dir"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
	d.stop()
	startDisk(t, dir)
}

func TestDiskSetsDamageAside(t *testing.T) {
	damage := map[string]func(t *testing.T, path string){
		"garbage": func(t *testing.T, path string) {
			if err := os.WriteFile(path, bytes.Repeat([]byte("no database "), 10000), 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"cut to nothing": func(t *testing.T, path string) {
			if err := os.Truncate(path, 0); err != nil {
				t.Fatal(err)
			}
		},
		"cut to one page": func(t *testing.T, path string) {
			if err := os.Truncate(path, 4096); err != nil {
				t.Fatal(err)
			}
		},
		"cut to a part of its data": func(t *testing.T, path string) {
			if err := os.Truncate(path, 64<<10); err != nil {
				t.Fatal(err)
			}
		},
		"pages of zeros": func(t *testing.T, path string) {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			clear(text[2*4096:])
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
		},
	}
	for name, spoil := range damage {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			d := startDisk(t, dir)
			for i := range 500 {
				d.Keep(sealed(t, entry(policy.KindMove, strings.Repeat("k", 1+i%200)+string(rune('a'+i%26)), int64(i), strings.Repeat("long ", 100))), nil, nil)
			}
			d.stop()
			spoil(t, filepath.Join(dir, storeFile))

			d = startDisk(t, dir)
			state := d.State()
			if state.Damaged == "" || state.Failing != nil || state.Rebuilt {
				t.Errorf("damage %q, failing %v, made good %v: want the damage said and a disk that writes", state.Damaged, state.Failing, state.Rebuilt)
			}
			aside, err := filepath.Glob(filepath.Join(dir, storeFile+".damaged-*"))
			if err != nil || len(aside) != 1 {
				t.Errorf("set aside: %v, %v", aside, err)
			}
			if err := d.order(t, entry(policy.KindOverride, "all", 1, "after")); err != nil {
				t.Error(err)
			}
			d.stop()
			if got := reasons(startDisk(t, dir).stored); got["override all"] != "after" {
				t.Errorf("after the damage is held: %v", got)
			}
		})
	}
}

func TestDiskLeavesOutFlippedValues(t *testing.T) {
	dir := t.TempDir()
	d := startDisk(t, dir)
	for _, key := range []string{"good", "flipped-key"} {
		if err := d.order(t, entry(policy.KindOverride, key, 1, "reason of "+key)); err != nil {
			t.Fatal(err)
		}
	}
	d.stop()
	path := filepath.Join(dir, storeFile)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.ReplaceAll(text, []byte("reason of flipped-key"), []byte("Reason of flipped-key"))
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	d = startDisk(t, dir)
	if diff := cmp.Diff(map[string]string{"override good": "reason of good"}, reasons(d.stored)); diff != "" {
		t.Error(diff)
	}
	if d.State().Damaged == "" {
		t.Error("nothing is said of the damage")
	}
}

// What happens to the file while the node runs must cost no order: everything
// is in memory too.
func TestDiskOutlivesItsFile(t *testing.T) {
	faults := map[string]func(dir string) error{
		"file truncated under the map": func(dir string) error { return os.Truncate(filepath.Join(dir, storeFile), 0) },
		"file removed":                 func(dir string) error { return os.Remove(filepath.Join(dir, storeFile)) },
		"folder removed":               os.RemoveAll,
		"file replaced": func(dir string) error {
			path := filepath.Join(dir, storeFile)
			return errors.Join(os.Rename(path, path+".moved"), os.WriteFile(path, []byte("x"), 0o600))
		},
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			d := startDisk(t, dir)
			if err := d.order(t, entry(policy.KindOverride, "before", 1, "b")); err != nil {
				t.Fatal(err)
			}
			if err := fault(dir); err != nil {
				t.Fatal(err)
			}
			d.Keep(nil, nil, []policy.HealthEntry{{Target: "tcp x", State: policy.Down}})
			if err := d.order(t, entry(policy.KindOverride, "after", 2, "a")); err != nil {
				t.Fatal(err)
			}
			if s := d.State(); s.Damaged != "" && (!s.Rebuilt || !strings.Contains(s.Damaged, "was it truncated")) {
				t.Errorf("damage %q, made good: %v", s.Damaged, s.Rebuilt)
			}
			if _, _, err := openDisk(dir, quiet(t)); !errors.Is(err, ErrInUse) {
				t.Errorf("a second node got %v", err)
			}
			d.stop()
			want := map[string]string{"override before": "b", "override after": "a"}
			again := startDisk(t, dir).stored
			if diff := cmp.Diff(want, reasons(again)); diff != "" {
				t.Error(diff)
			}
			if len(again.Health) != 1 || again.Health[0].State != policy.Down {
				t.Errorf("health %+v", again.Health)
			}
		})
	}
}

// A data folder that can't be used stops no start; orders are refused until it can.
func TestDiskComesBack(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.WriteFile(dir, nil, 0o600); err != nil { // in the folder's place
		t.Fatal(err)
	}
	d := startDisk(t, dir)
	if d.State().Failing == nil {
		t.Fatal("a file passes for a folder")
	}
	if err := d.order(t, entry(policy.KindOverride, "refused", 1, "r")); !errors.Is(err, syscall.ENOTDIR) {
		t.Fatalf("the order got %v", err)
	}
	d.Keep(sealed(t, entry(policy.KindMove, "waits", 1, "w")), nil, nil)
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the disk writes again", func() bool { return d.State().Failing == nil })
	if err := d.order(t, entry(policy.KindOverride, "taken", 1, "t")); err != nil {
		t.Fatal(err)
	}
	d.stop()
	want := map[string]string{"move waits": "w", "override taken": "t"}
	if diff := cmp.Diff(want, reasons(startDisk(t, dir).stored)); diff != "" {
		t.Error(diff)
	}
}

// inNamespace runs the test of the given name again, in a mount namespace of
// its own, where it may mount what it likes.
func inNamespace(t *testing.T, name string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^"+name+"$", "-test.v")
	cmd.Env = append(os.Environ(), "PHAROS_TEST_INSIDE="+name)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func inside(name string) bool { return os.Getenv("PHAROS_TEST_INSIDE") == name }

// A full disk refuses the order, says why, keeps what was there, and takes
// orders again when there is room.
func TestDiskFull(t *testing.T) {
	if !inside(t.Name()) {
		inNamespace(t, t.Name())
		return
	}
	dir := t.TempDir()
	if err := syscall.Mount("", "/", "", syscall.MS_PRIVATE|syscall.MS_REC, ""); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Fatal(err)
	}
	d := startDisk(t, dir)
	if err := d.order(t, entry(policy.KindOverride, "before", 1, "b")); err != nil {
		t.Fatal(err)
	}
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 1<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the disk is not full: %v", err)
	}
	large := entry(policy.KindOverride, "large", 2, "l")
	large.Value = bytes.Repeat([]byte("x"), 60_000)
	if err := d.order(t, large); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the order on a full disk got %v", err)
	}
	if d.State().Failing == nil {
		t.Error("the disk does not say that it fails")
	}
	d.Keep(sealed(t, entry(policy.KindMove, "meanwhile", 1, "m")), nil, nil)
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the disk writes again", func() bool { return d.State().Failing == nil })
	if err := d.order(t, entry(policy.KindOverride, "after", 3, "a")); err != nil {
		t.Fatal(err)
	}
	d.stop()
	d = startDisk(t, dir)
	want := map[string]string{"override before": "b", "override after": "a", "move meanwhile": "m"}
	if diff := cmp.Diff(want, reasons(d.stored)); diff != "" {
		t.Error(diff)
	}
	d.stop()

	// Read-only: what is there is read, orders are refused.
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	d = startDisk(t, dir)
	if diff := cmp.Diff(want, reasons(d.stored)); diff != "" {
		t.Errorf("read-only: %s", diff)
	}
	if err := d.order(t, entry(policy.KindOverride, "refused", 4, "r")); !errors.Is(err, syscall.EROFS) {
		t.Errorf("the order on a read-only disk got %v", err)
	}
	d.stop()
	if err := syscall.Unmount(dir, 0); err != nil {
		t.Error(err)
	}
}

// TestCopyFile wants a copy whole, in the place of nothing, or none.
func TestCopyFile(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	if err := os.WriteFile(from, []byte("orders"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := copyFile(from, to); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(to); err != nil || string(text) != "orders" {
		t.Errorf("the copy is %q, %v", text, err)
	}
	if err := copyFile(dir, to); err == nil {
		t.Error("a copy replaces one that is there")
	}
	part := filepath.Join(dir, "part")
	if err := copyFile(dir, part); err == nil {
		t.Error("a folder was copied as a file")
	}
	if _, err := os.Stat(part); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a part is left of a copy that failed: %v", err)
	}
}
