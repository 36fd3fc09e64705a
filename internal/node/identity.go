package node

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/scloudstack/pharos/cluster"
	"github.com/scloudstack/pharos/internal/bounded"
)

// A node's key file is one line: ed25519-seed: and the 32 bytes of RFC 8032's
// private key in base64. The public half stands in the configuration, under nodes.
const (
	seedPrefix   = "ed25519-seed:"
	publicPrefix = "ed25519:"

	maxIdentity = 4 << 10 // bytes of a key file; it has some 60
	gossipKey   = 32      // bytes: AES-256
)

// PublicText is the public half as the configuration has it.
func PublicText(key ed25519.PublicKey) string {
	return publicPrefix + base64.StdEncoding.EncodeToString(key)
}

// LoadIdentity reads a node's key. The error of a file that is not there is
// fs.ErrNotExist. A file that others can read is refused: whoever has the key
// is the node.
func LoadIdentity(path string) (ed25519.PrivateKey, error) {
	text, err := bounded.ReadFile(path, maxIdentity, 0o077)
	if err != nil {
		return nil, fmt.Errorf("node key: %w", err)
	}
	key, err := parseIdentity(string(text))
	if err != nil {
		return nil, fmt.Errorf("node key %s: %w", path, err)
	}
	return key, nil
}

// parseIdentity reads the text of a key file. Its errors do not repeat the text.
func parseIdentity(text string) (ed25519.PrivateKey, error) {
	const want = "expected one line, " + seedPrefix + " and 44 characters of base64"
	line := strings.TrimSpace(text)
	if line == "" {
		return nil, errors.New("found nothing in it, " + want)
	}
	encoded, ok := strings.CutPrefix(line, seedPrefix)
	if !ok {
		return nil, errors.New("found another beginning than " + seedPrefix + ", " + want)
	}
	seed, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil || strings.ContainsAny(encoded, "\r\n") {
		return nil, errors.New("found what is no base64, " + want)
	}
	if len(seed) != ed25519.SeedSize {
		return nil, fmt.Errorf("found a key of %d bytes, expected %d", len(seed), ed25519.SeedSize)
	}
	return ed25519.NewKeyFromSeed(seed), nil
}

// MakeIdentity makes a node's key and its file, and the folder if there is
// none. What is there already is never replaced: the error is fs.ErrExist then.
// The file appears whole, on the disk, or not at all.
func MakeIdentity(path string) (ed25519.PrivateKey, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("node key: %w", err)
	}
	return key, saveIdentity(path, key)
}

// saveIdentity writes a key's file, as MakeIdentity does.
func saveIdentity(path string, key ed25519.PrivateKey) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("node key: %w", err)
	}
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("node key %s: %w", path, fs.ErrExist)
	}
	tmp, err := os.CreateTemp(dir, ".node.key-*") // of mode 0600
	if err != nil {
		return fmt.Errorf("node key: %w", err)
	}
	defer os.Remove(tmp.Name())
	line := seedPrefix + base64.StdEncoding.EncodeToString(key.Seed()) + "\n"
	_, err = tmp.WriteString(line)
	if err = errors.Join(err, likeFolder(tmp, dir), tmp.Sync(), tmp.Close()); err != nil {
		return fmt.Errorf("node key: %w", err)
	}
	if err := os.Link(tmp.Name(), path); err != nil { // unlike a rename, it replaces nothing
		return fmt.Errorf("node key: %w", err)
	}
	return syncFolder(dir)
}

// likeFolder gives a file that root made to whom the data folder belongs: the
// node may run as another user.
func likeFolder(f *os.File, dir string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	var owner unix.Stat_t
	if err := unix.Stat(dir, &owner); err != nil {
		return err
	}
	return f.Chown(int(owner.Uid), int(owner.Gid))
}

// NewGossipKey is a fresh key for the keys_file, in base64, and its fingerprint.
func NewGossipKey() (key, fingerprint string) {
	raw := make([]byte, gossipKey)
	_, _ = rand.Read(raw) // it never fails
	return base64.StdEncoding.EncodeToString(raw), cluster.FingerprintOf(raw).String()
}
