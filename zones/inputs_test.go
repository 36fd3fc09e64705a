package zones

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestUnchangedFilesAreNotParsedAgain also shows what makes a zone be read
// again: other bytes of the same length and time, here or in an included file.
func TestUnchangedFilesAreNotParsedAgain(t *testing.T) {
	kt := newKeeperTest(t)
	included := filepath.Join(filepath.Dir(kt.spec.File), "more")
	text := "$TTL 60\n@ SOA ns.example. h.example. 1 1 2 3 4\n@ NS ns.example.\n$INCLUDE more\na A 192.0.2.1\n"
	// write keeps the time, as a deployment by rsync or git may.
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		day := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
		if err := os.Chtimes(path, day, day); err != nil {
			t.Fatal(err)
		}
	}
	parsed := func() bool {
		t.Helper()
		served := kt.k.current()[kt.spec.Name]
		z, _, err := readAgain(kt.spec, &served, Options{})
		return err != nil || z != served.Zone
	}
	write(included, "b A 192.0.2.1\n")
	write(kt.spec.File, text)
	kt.load(File, 1, nil, 0)
	if parsed() {
		t.Error("unchanged files are parsed again")
	}
	write(included, "b A 192.0.2.2\n")
	if !parsed() {
		t.Error("a change of an included file is not seen")
	}
	kt.load(File, 1, nil, 1) // the serial stands still
	if parsed() {
		t.Error("after a change the files are parsed each time")
	}
	write(kt.spec.File, strings.Replace(text, "192.0.2.1", "192.0.2.9", 1))
	if !parsed() {
		t.Error("a change of the file is not seen")
	}
	kt.load(File, 1, nil, 1)
	if err := os.Remove(included); err != nil {
		t.Fatal(err)
	}
	kt.load(Running, 1, errAny, 0)
	write(included, "b A 192.0.2.2\n")
	kt.load(File, 1, nil, 0)

	moved := kt.spec
	moved.File = filepath.Join(filepath.Dir(kt.spec.File), "other.zone")
	write(moved.File, text)
	served := kt.k.current()[kt.spec.Name]
	if z, _, err := readAgain(moved, &served, Options{}); err != nil || z == served.Zone {
		t.Errorf("another file of the zone is not read: %v", err)
	}
}

// TestWarningsStay: a zone that is not parsed again still tells what is odd.
func TestWarningsStay(t *testing.T) {
	kt := newKeeperTest(t)
	kt.writeText("@ 60 SOA a. b. 1 2 3 4 5\n@ 60 NS c.\n@ 60 A 192.0.2.1") // cut off
	for range 3 {
		kt.load(File, 1, nil, 1)
	}
}

// TestLoadChangesNothing: what was loaded and not taken is no measure for what
// comes, does not run on, and is not kept on the disk.
func TestLoadChangesNothing(t *testing.T) {
	kt := newKeeperTest(t)
	kt.write(1, 98)
	served := kt.load(File, 1, nil, 0).Zone
	kt.write(2, 82)
	if l := kt.k.Load([]Spec{kt.spec}, nil)[0]; l.Source != File || kt.k.LoadOne(kt.spec, false).Source != File {
		t.Fatalf("a good file is refused: %v", l.Err)
	}
	kt.k.Save(t.Context())
	kt.wantSerials(1)
	kt.write(3, 70) // 18 records fewer than what was not taken, 28 % fewer than what is served
	if l := kt.load(Running, 1, ErrShrunk, 0); l.Zone != served {
		t.Error("what runs on is not what is served")
	}
	kt.write(2, 82)
	kt.load(File, 2, nil, 0)
	if l, err := kt.k.Rollback(kt.spec.Name); err != nil || l.Zone.Serial() != 1 {
		t.Fatalf("rollback: %+v, %v", l, err)
	}
	kt.load(File, 2, nil, 0)
	kt.wantSerials(2, 1)
}

func TestFIFOIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "zone")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, _, err := ParseFile("k.example.", path, Options{})
		done <- err
	}()
	select {
	case err := <-done:
		var ps Problems
		if !errors.As(err, &ps) || !strings.Contains(ps[0].Text, "regular file") {
			t.Errorf("error %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the reader waits for a writer")
	}
}
