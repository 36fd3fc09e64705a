package cluster

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/hashicorp/memberlist"

	"github.com/scloudstack/pharos/internal/bounded"
	"github.com/scloudstack/pharos/policy"
)

// gossipKeys are the keys of a keys_file and those in use. Both change at run time, so a lock guards them.
type gossipKeys struct {
	path string

	mu     sync.Mutex
	ring   *memberlist.Keyring
	file   [][]byte // as it was when it could be read last
	unread bool     // it could not be, since
}

// CheckKeysFile says what keeps a node from using a file of gossip keys. Nil: nothing does.
func CheckKeysFile(path string) error {
	_, err := readKeys(path)
	return err
}

// readKeys reads a keys_file: base64 of 16, 24 or 32 octets a line; the first is used to send. Empty lines and lines that
// begin with # are skipped.
func readKeys(path string) ([][]byte, error) {
	data, err := bounded.ReadFile(path, maxKeysFile, 0o027) // whoever has the keys hears, and speaks to, every node
	if err != nil {
		return nil, fmt.Errorf("gossip keys: %w", err)
	}
	var keys [][]byte
	for i, line := range strings.Split(string(data), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, err := base64.StdEncoding.DecodeString(line)
		if err != nil {
			return nil, fmt.Errorf("gossip keys: %s:%d: no base64 (the line is not shown: it may be a key)", path, i+1)
		}
		if err := memberlist.ValidateKey(key); err != nil {
			return nil, fmt.Errorf("gossip keys: %s:%d: a key of %d octets, 16, 24 or 32 expected", path, i+1, len(key))
		}
		if slices.ContainsFunc(keys, func(k []byte) bool { return bytes.Equal(k, key) }) {
			return nil, fmt.Errorf("gossip keys: %s:%d: the key stands there twice", path, i+1)
		}
		keys = append(keys, key)
	}
	switch {
	case len(keys) == 0:
		return nil, fmt.Errorf("gossip keys: %s: no key in it", path)
	case len(keys) > maxGossipKeys/2:
		return nil, fmt.Errorf("gossip keys: %s: %d keys, at most %d expected", path, len(keys), maxGossipKeys/2)
	}
	return keys, nil
}

// maxKeysFile is how large a keys_file may be, in bytes.
const maxKeysFile = 64 << 10

func openKeys(path string) (*gossipKeys, error) {
	keys, err := readKeys(path)
	if err != nil {
		return nil, err
	}
	ring, err := memberlist.NewKeyring(keys, keys[0])
	if err != nil {
		return nil, fmt.Errorf("gossip keys: %s: %w", path, err)
	}
	return &gossipKeys{path: path, ring: ring, file: keys}, nil
}

// list says which keys there are, those that are installed first.
func (k *gossipKeys) list() []GossipKey {
	k.mu.Lock()
	defer k.mu.Unlock()
	primary := k.ring.GetPrimaryKey()
	var out []GossipKey
	for _, key := range k.ring.GetKeys() {
		out = append(out, GossipKey{Fingerprint: FingerprintOf(key), Installed: true, Sends: bytes.Equal(key, primary)})
	}
	for i, key := range k.file {
		f := FingerprintOf(key)
		j := slices.IndexFunc(out, func(g GossipKey) bool { return g.Fingerprint == f })
		if j < 0 {
			j = len(out)
			out = append(out, GossipKey{Fingerprint: f})
		}
		out[j].InFile, out[j].FirstInFile = true, i == 0
	}
	for i := range out {
		out[i].Unread = k.unread
	}
	return out[:min(len(out), maxGossipKeys)]
}

// reread installs the keys that the file holds by now. None is taken away, and the one that sends stays.
func (k *gossipKeys) reread() error {
	keys, err := readKeys(k.path)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.unread = err != nil; k.unread {
		return err
	}
	k.file = keys
	for _, key := range keys {
		if len(k.ring.GetKeys()) >= maxGossipKeys/2 {
			return fmt.Errorf("gossip keys: %d are installed already: remove those that are not used", maxGossipKeys/2)
		}
		if err := k.ring.AddKey(key); err != nil {
			return fmt.Errorf("gossip keys: %w", err)
		}
	}
	return nil
}

var errNoKey = errors.New("no such key is installed")

func (k *gossipKeys) find(f Fingerprint) ([]byte, error) {
	for _, key := range k.ring.GetKeys() {
		if FingerprintOf(key) == f {
			return key, nil
		}
	}
	return nil, fmt.Errorf("gossip key %s: %w", f, errNoKey)
}

// use has a key encrypt what is sent.
func (k *gossipKeys) use(f Fingerprint) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	key, err := k.find(f)
	if err != nil {
		return err
	}
	return k.ring.UseKey(key)
}

// remove has what a key encrypted no longer be read.
func (k *gossipKeys) remove(f Fingerprint) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	key, err := k.find(f)
	if err != nil {
		return err
	}
	if bytes.Equal(key, k.ring.GetPrimaryKey()) {
		return fmt.Errorf("gossip key %s: it is what this node sends with", f)
	}
	return k.ring.RemoveKey(key)
}

// KeyOrder is what a node is told to do with its gossip keys. Keys themselves never travel.
type KeyOrder struct {
	Op  KeyOp
	Key Fingerprint // of KeyUse and KeyRemove
}

// KeyOp is a step of a rotation.
type KeyOp uint8

const (
	KeyReread KeyOp = 1 + iota // read the keys_file again and install what is new
	KeyUse                     // send with this key
	KeyRemove                  // forget this key
)

// ReadyFor says which of the nodes are not ready for a step, and why; none: all are. known is Gossip.KeysByNode, nodes are
// those of the configuration that are not declared lost.
func (o KeyOrder) ReadyFor(nodes []policy.NodeID, known map[policy.NodeID][]GossipKey) map[policy.NodeID]string {
	out := map[policy.NodeID]string{}
	if o.Op == KeyReread {
		return out
	}
	for _, node := range nodes {
		keys, heard := known[node]
		i := slices.IndexFunc(keys, func(k GossipKey) bool { return k.Fingerprint == o.Key })
		switch {
		case !heard:
			out[node] = "it was not heard of"
		case i >= 0 && keys[i].Unread:
			out[node] = "it could not read its keys_file when it was last told to"
		case o.Op == KeyUse && (i < 0 || !keys[i].Installed):
			out[node] = "it has not installed the key: is the key in its keys_file?"
		case o.Op == KeyUse && !keys[i].InFile:
			out[node] = "the key is not in its keys_file any more"
		case o.Op == KeyRemove && i >= 0 && keys[i].Sends:
			out[node] = "it still sends with the key"
		case o.Op == KeyRemove && i >= 0 && keys[i].FirstInFile:
			out[node] = "the key is still the first in its keys_file: it would send with it after its next start"
		}
	}
	return out
}
