package node

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/scloudstack/pharos/cluster"

	"golang.org/x/sys/unix"
)

func TestIdentityIsMadeOnceAndRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data", "node.key") // the folder is made too
	if _, err := LoadIdentity(path); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("before it is made: %v", err)
	}
	made, err := MakeIdentity(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v (%v), want 0600", info.Mode(), err)
	}
	read, err := LoadIdentity(path)
	if err != nil || !read.Equal(made) {
		t.Errorf("read another key than was made: %v", err)
	}
	if !ed25519.Verify(made.Public().(ed25519.PublicKey), []byte("x"), ed25519.Sign(read, []byte("x"))) {
		t.Error("the halves do not fit")
	}
	before, _ := os.ReadFile(path)
	if _, err := MakeIdentity(path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("made again: %v", err)
	}
	if after, _ := os.ReadFile(path); string(after) != string(before) {
		t.Error("the key was replaced")
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}

func TestIdentityIsNotMadeOverALink(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "node.key")
	if err := os.Symlink(filepath.Join(dir, "nowhere"), path); err != nil {
		t.Fatal(err)
	}
	if _, err := MakeIdentity(path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %v", err)
	}
}

func TestIdentityThatIsRefused(t *testing.T) {
	seed := base64.StdEncoding.EncodeToString(make([]byte, 32))
	for _, tt := range []struct {
		name, text string
		mode       os.FileMode
		want       string
	}{
		{"empty", "", 0o600, "found nothing in it"},
		{"public half", "ed25519:" + seed, 0o600, "another beginning than ed25519-seed:"},
		{"no base64", "ed25519-seed:!!", 0o600, "no base64"},
		{"two lines", "ed25519-seed:" + seed[:20] + "\n" + seed[20:], 0o600, "no base64"},
		{"short", "ed25519-seed:AAAA", 0o600, "found a key of 3 bytes, expected 32"},
		{"open to the group", "ed25519-seed:" + seed, 0o640, "found mode 0640, expected 0600"},
		{"open to all", "ed25519-seed:" + seed, 0o604, "expected 0600 or stricter"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "node.key")
			if err := os.WriteFile(path, []byte(tt.text), tt.mode); err != nil {
				t.Fatal(err)
			}
			_, err := LoadIdentity(path)
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("got %v, want %q with the path", err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), seed) {
				t.Errorf("the error tells the key: %v", err)
			}
		})
	}
	t.Run("a pipe", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "node.key")
		if err := unix.Mkfifo(path, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadIdentity(path); err == nil || !strings.Contains(err.Error(), "regular file") {
			t.Errorf("got %v", err)
		}
	})
}

// TestIdentityBelongsToTheFoldersOwner matters where root makes the key of a
// node that runs as another user.
func TestIdentityBelongsToTheFoldersOwner(t *testing.T) {
	dir := t.TempDir()
	want := os.Geteuid()
	if want == 0 {
		want = 4567
		if err := os.Chown(dir, want, want); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "node.key")
	if _, err := MakeIdentity(path); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil || int(st.Uid) != want {
		t.Errorf("owner %d (%v), want %d", st.Uid, err, want)
	}
}

func TestGossipKeysAreFresh(t *testing.T) {
	a, of := NewGossipKey()
	b, _ := NewGossipKey()
	raw, err := base64.StdEncoding.DecodeString(a)
	if err != nil || len(raw) != 32 || a == b {
		t.Errorf("%q and %q: %v", a, b, err)
	}
	if len(of) != 16 || of != cluster.FingerprintOf(raw).String() {
		t.Errorf("fingerprint %q", of)
	}
}
