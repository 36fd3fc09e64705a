package zones

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// keeperTest is a keeper with one zone file.
type keeperTest struct {
	*testing.T
	dir  string // of the copies
	spec Spec
	k    *Keeper
}

func newKeeperTest(t *testing.T) *keeperTest {
	dir := t.TempDir()
	kt := &keeperTest{T: t, dir: filepath.Join(dir, "zones"), spec: Spec{Name: "k.example.", File: filepath.Join(dir, "k.zone")}}
	kt.restart()
	return kt
}

func (t *keeperTest) restart() {
	t.Helper()
	k, err := OpenKeeper(t.dir)
	if err != nil {
		t.Fatal(err)
	}
	day := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	k.now = func() time.Time { day = day.Add(time.Minute); return day }
	t.k = k
}

// write writes the file: a serial, and a number of hosts.
func (t *keeperTest) write(serial uint32, hosts int) {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "$TTL 60\n@ SOA ns.example. h.example. %d 1 2 3 4\n@ NS ns.example.\n", serial)
	for i := range hosts {
		fmt.Fprintf(&b, "h%d A 192.0.2.%d\n", i, i)
	}
	t.writeText(b.String())
}

func (t *keeperTest) writeText(text string) {
	t.Helper()
	if err := os.WriteFile(t.spec.File, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// load loads, and compares source, serial, error and number of warnings.
func (t *keeperTest) load(source Source, serial uint32, reason error, warnings int) Loaded {
	t.Helper()
	return t.check(t.k.Load([]Spec{t.spec}, nil)[0], source, serial, reason, warnings)
}

func (t *keeperTest) accept(serial uint32) {
	t.Helper()
	t.check(t.k.Load([]Spec{t.spec}, map[string]bool{t.spec.Name: true})[0], File, serial, nil, 0)
}

// check compares what was loaded, and has it served and kept. What could not be
// kept counts as a warning.
func (t *keeperTest) check(l Loaded, source Source, serial uint32, reason error, warnings int) Loaded {
	t.Helper()
	if l.Source != source || (l.Zone == nil) != (source == None) || l.Zone != nil && l.Zone.Serial() != serial {
		t.Fatalf("source %v, zone %+v, error %v", l.Source, l.Zone, l.Err)
	}
	if reason == nil && l.Err != nil || reason != nil && !errors.Is(l.Err, reason) && reason != errAny || reason == errAny && l.Err == nil {
		t.Fatalf("error %v, want %v", l.Err, reason)
	}
	t.k.Take([]Loaded{l})
	t.k.Save(t.Context())
	for _, err := range t.k.Unkept() {
		l.Warnings = append(l.Warnings, Problem{Text: err.Error()})
	}
	if len(l.Warnings) != warnings {
		t.Fatalf("warnings %v, want %d", l.Warnings, warnings)
	}
	return l
}

var errAny = errors.New("any")

func (t *keeperTest) serials() (serials []uint32) {
	for _, v := range t.k.Kept()(t.spec.Name) {
		serials = append(serials, v.Serial)
	}
	return serials
}

func (t *keeperTest) wantSerials(want ...uint32) {
	t.Helper()
	if got := t.serials(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("versions %v, want %v", got, want)
	}
}

func TestBadFileLeavesWhatRan(t *testing.T) {
	kt := newKeeperTest(t)
	kt.load(None, 0, errAny, 0) // no file, no copy
	kt.writeText("@ A 192.0.2.1\n")
	kt.load(None, 0, errAny, 0)
	kt.write(1, 10)
	first := kt.load(File, 1, nil, 0)
	if again := kt.load(File, 1, nil, 0); again.Zone != first.Zone {
		t.Error("an unchanged file gives another pointer")
	}
	kt.wantSerials(1)
	kt.writeText("broken")
	l := kt.load(Running, 1, errAny, 0)
	if l.Zone != first.Zone {
		t.Error("a refused file gives another pointer")
	}
	var ps Problems
	if !errors.As(l.Err, &ps) || ps[0].File != kt.spec.File || ps[0].Line != 1 {
		t.Errorf("error %#v", l.Err)
	}
	kt.restart()
	kt.load(LastGood, 1, errAny, 0)
	kt.load(Running, 1, errAny, 0)
	if err := os.Remove(kt.spec.File); err != nil {
		t.Fatal(err)
	}
	kt.restart()
	kt.load(LastGood, 1, errAny, 0)
}

func TestOneBadZoneAmongMany(t *testing.T) {
	kt := newKeeperTest(t)
	var specs []Spec
	for i := range fewSavings + 4 { // enough to be synced together
		s := Spec{Name: fmt.Sprintf("z%d.example.", i), File: filepath.Join(t.TempDir(), "zone")}
		if err := os.WriteFile(s.File, []byte("@ 60 SOA a. b. 1 2 3 4 5\n@ 60 NS c.\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		specs = append(specs, s)
	}
	if err := os.WriteFile(specs[3].File, []byte("@ 60 SOA a. b. 1 2 3 4 5\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	loaded := kt.k.Load(specs, nil)
	kt.k.Take(loaded)
	kt.k.Save(t.Context())
	if len(kt.k.Unkept()) > 0 {
		t.Errorf("not kept: %v", kt.k.Unkept())
	}
	for i, l := range loaded {
		if (l.Source == None) != (i == 3) || len(l.Warnings) > 0 || len(kt.k.Kept()(l.Spec.Name)) != 1 && i != 3 {
			t.Errorf("%s: source %v, error %v, warnings %v", l.Spec.Name, l.Source, l.Err, l.Warnings)
		}
	}
}

func TestShrinkAndSerialNeedAccepting(t *testing.T) {
	kt := newKeeperTest(t)
	kt.write(10, 18) // 20 records
	kt.load(File, 10, nil, 0)
	kt.write(11, 14) // 16: exactly 20 % less
	kt.load(File, 11, nil, 0)
	kt.write(12, 10)
	kt.load(Running, 11, ErrShrunk, 0)
	kt.restart()
	kt.load(LastGood, 11, ErrShrunk, 0)
	kt.accept(12)
	kt.load(File, 12, nil, 0)

	kt.write(11, 11)
	kt.load(Running, 12, ErrSerialBack, 0)
	kt.accept(11)
	kt.write(11+1<<31, 11) // neither before nor after, RFC 1982 §3.2
	kt.load(Running, 11, ErrSerialBack, 0)
	kt.write(11+1<<31-1, 11) // as far on as can be
	kt.load(File, 11+1<<31-1, nil, 0)
	kt.write(5, 11) // on, over the end
	kt.load(File, 5, nil, 0)

	kt.write(5, 12)
	l := kt.load(File, 5, nil, 1)
	if !strings.Contains(l.Warnings[0].Text, "its serial is still 5") {
		t.Errorf("warning %v", l.Warnings)
	}
	kt.wantSerials(5, 5, 11+1<<31-1, 11, 12)
}

func TestVersionsAndRollback(t *testing.T) {
	kt := newKeeperTest(t)
	if _, err := kt.k.Rollback(kt.spec.Name); err == nil {
		t.Error("went back to nothing")
	}
	for serial := range uint32(7) {
		kt.write(serial+1, 10)
		kt.load(File, serial+1, nil, 0)
	}
	kt.wantSerials(7, 6, 5, 4, 3)
	if n := kt.k.Kept()(kt.spec.Name)[0].Number; n != 7 {
		t.Errorf("the newest version has the number %d", n)
	}

	back := func(serial uint32) {
		t.Helper()
		l, err := kt.k.Rollback(kt.spec.Name)
		if err != nil {
			t.Fatal(err)
		}
		kt.check(l, LastGood, serial, ErrRolledBack, 0)
	}
	back(6)
	kt.load(Running, 6, ErrRolledBack, 0)
	kt.restart()
	kt.load(LastGood, 6, ErrRolledBack, 0)
	back(5)
	kt.load(Running, 5, ErrRolledBack, 0)
	kt.restart()
	kt.load(LastGood, 5, ErrRolledBack, 0)
	kt.wantSerials(5, 7, 6, 5, 4, 3)
	kt.accept(7)
	back(5) // it was served before
	kt.write(8, 10)
	kt.load(File, 8, nil, 0)
}

// Each rollback goes one version back, over restarts too, until none is left; what is loaded
// then follows what was served before it.
func TestRollbackWalksBack(t *testing.T) {
	for _, restarts := range []bool{false, true} {
		t.Run(fmt.Sprintf("restarts %v", restarts), func(t *testing.T) {
			kt := newKeeperTest(t)
			back := func(serials ...uint32) {
				t.Helper()
				for _, serial := range serials {
					l, err := kt.k.Rollback(kt.spec.Name)
					if err != nil {
						t.Fatal(err)
					}
					kt.check(l, LastGood, serial, ErrRolledBack, 0)
					if restarts {
						kt.restart()
						kt.load(LastGood, serial, ErrRolledBack, 0)
					}
				}
			}
			end := func() {
				t.Helper()
				if l, err := kt.k.Rollback(kt.spec.Name); err == nil {
					t.Fatalf("went on to serial %d", l.Zone.Serial())
				}
			}
			load := func(serials ...uint32) {
				t.Helper()
				for _, serial := range serials {
					kt.write(serial, 10)
					kt.load(File, serial, nil, 0)
				}
			}
			load(10, 11, 12, 20, 30)
			back(20, 12, 11, 10)
			end()
			kt.wantSerials(10, 30, 20, 12, 11, 10)

			load(31)
			kt.wantSerials(31, 30, 20, 12, 10)
			back(10)
			end()
			load(32, 33)
			kt.wantSerials(33, 32, 31, 30, 10)
			back(32, 10)
			end()
			kt.accept(33)
			back(10)
			load(40, 41, 42, 43)
			kt.wantSerials(43, 42, 41, 40, 10)
			back(42, 41, 40, 10)
			end()
		})
	}
}

// A content that was loaded twice is no end of the way back.
func TestRollbackOverARepeatedContent(t *testing.T) {
	kt := newKeeperTest(t)
	for _, serial := range []uint32{1, 2, 3, 2} {
		kt.write(serial, 10)
		kt.accept(serial)
	}
	for _, serial := range []uint32{3, 2, 1} {
		l, err := kt.k.Rollback(kt.spec.Name)
		if err != nil {
			t.Fatal(err)
		}
		kt.check(l, LastGood, serial, ErrRolledBack, 0)
	}
}

func TestDamagedCopyIsPassedOver(t *testing.T) {
	kt := newKeeperTest(t)
	kt.write(1, 10)
	kt.load(File, 1, nil, 0)
	kt.write(2, 10)
	kt.load(File, 2, nil, 0)
	path := kt.k.Kept()(kt.spec.Name)[0].path
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	damaged := strings.Replace(string(text), "192.0.2.3", "192.0.2.4", 1)
	if err := os.WriteFile(path, []byte(damaged), 0o600); err != nil {
		t.Fatal(err)
	}
	kt.writeText("broken")
	kt.restart()
	kt.load(LastGood, 1, errAny, 1)
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	kt.restart()
	kt.load(LastGood, 1, errAny, 1)
	kt.write(3, 10)
	kt.restart()
	kt.load(File, 3, nil, 0)
}

// TestCopyIsNoFile: a FIFO in the place of the newest copy holds nobody.
func TestCopyIsNoFile(t *testing.T) {
	kt := newKeeperTest(t)
	kt.write(1, 10)
	kt.load(File, 1, nil, 0)
	if err := unix.Mkfifo(filepath.Join(kt.dir, "k.example@000002.zone"), 0o600); err != nil {
		t.Fatal(err)
	}
	kt.write(2, 10)
	kt.restart()
	kt.load(File, 2, nil, 0)
	kt.writeText("broken")
	kt.restart()
	kt.load(LastGood, 2, errAny, 0)
}

// TestNoCopyIsAWarning: the zone is served although no copy can be kept.
func TestNoCopyIsAWarning(t *testing.T) {
	t.Run("no folder", func(t *testing.T) {
		kt := newKeeperTest(t)
		kt.write(1, 10)
		kt.dir = filepath.Join(kt.spec.File, "below a file")
		kt.restart()
		kt.load(File, 1, nil, 1)
		kt.write(2, 10)
		kt.load(File, 2, nil, 1)
		kt.writeText("broken")
		kt.load(Running, 2, errAny, 1)
	})
	t.Run("full disk", func(t *testing.T) {
		kt := newKeeperTest(t)
		kt.write(1, 10)
		kt.load(File, 1, nil, 0)
		if err := os.Symlink("/dev/full", filepath.Join(kt.dir, "k.example.tmp")); err != nil {
			t.Fatal(err)
		}
		kt.write(2, 10)
		l := kt.load(File, 2, nil, 1)
		if !strings.Contains(l.Warnings[0].Text, "no space left") {
			t.Errorf("warning %v", l.Warnings)
		}
		kt.wantSerials(1)
		kt.load(File, 2, nil, 0) // the link is gone
		kt.wantSerials(2, 1)
	})
	if _, err := OpenKeeper(""); err == nil {
		t.Error("a keeper without a folder opens")
	}
}

func TestFileNames(t *testing.T) {
	seen := map[string]bool{}
	for _, zone := range []string{".", "example.", "a/b.example.", `a\@b.example.`, "a%2fb.example.", "%2e."} {
		name := fileName(zone)
		if seen[name] || strings.ContainsAny(name, "/@") || name == "" {
			t.Errorf("%s is kept as %s", zone, name)
		}
		seen[name] = true
	}
}

func TestLoadOne(t *testing.T) {
	kt := newKeeperTest(t)
	other := Spec{Name: "other.example.", File: filepath.Join(t.TempDir(), "none")}
	kt.write(1, 18)
	kt.k.Take(kt.k.Load([]Spec{kt.spec, other}, nil))
	kt.k.Save(t.Context())
	kt.write(2, 10)
	z, _, err := ParseFile(kt.spec.Name, kt.spec.File, Options{})
	if err != nil || !errors.Is(kt.k.Judge(z), ErrShrunk) {
		t.Errorf("judged %v, error %v", kt.k.Judge(z), err)
	}
	kt.check(kt.k.LoadOne(kt.spec, false), Running, 1, ErrShrunk, 0)
	kt.check(kt.k.LoadOne(kt.spec, true), File, 2, nil, 0)
	if err := kt.k.Judge(z); err != nil {
		t.Errorf("what runs is refused: %v", err)
	}
	kt.wantSerials(2, 1)
	kt.load(File, 2, nil, 0)
}

// TestKeptLooksOnce: listing the versions of thousands of zones reads the
// folder once, and waits for no save.
func TestKeptLooksOnce(t *testing.T) {
	kt := newKeeperTest(t)
	for serial := range uint32(keepVersions) {
		kt.write(serial+1, 10)
		kt.load(File, serial+1, nil, 0)
	}
	kept := kt.k.Kept()
	kt.write(6, 10)
	kt.load(File, 6, nil, 0) // removes version 1
	var numbers []uint64
	for _, v := range kept(kt.spec.Name) {
		numbers = append(numbers, v.Number)
	}
	if got, want := fmt.Sprint(numbers), "[5 4 3 2]"; got != want {
		t.Errorf("versions %s, want %s as they were and are still there", got, want)
	}
	kt.k.saving.Lock() // as a save does
	defer kt.k.saving.Unlock()
	done := make(chan struct{})
	go func() { defer close(done); kt.k.Kept()(kt.spec.Name) }()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("listing waits for a save")
	}
}
