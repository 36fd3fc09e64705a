package node

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	bolt "go.etcd.io/bbolt"

	"github.com/scloudstack/pharos/internal/bounded"
)

// marks are what one start leaves on the disk for the next one. In a batch, what is zero is left as it is.
type marks struct {
	incarnation uint64 // of the last start
	chain       string // name of the audit's
	keys        []byte // public keys that nodes had
	refill      refillMark
	told        []byte // the node's own alarms that a receiver knows of
}

// refillMark says whether the node is being filled from its peers.
type refillMark uint8

const (
	refillBegun refillMark = 1 + iota
	refillEnded
)

func (m marks) none() bool {
	return m.incarnation == 0 && m.chain == "" && m.keys == nil && m.refill == 0 && m.told == nil
}

// take lays newer marks over m.
func (m *marks) take(n marks) {
	if n.incarnation > 0 {
		m.incarnation = n.incarnation
	}
	if n.chain != "" {
		m.chain = n.chain
	}
	if n.keys != nil {
		m.keys = n.keys
	}
	if n.refill != 0 {
		m.refill = n.refill
	}
	if n.told != nil {
		m.told = n.told
	}
}

func (m *marks) read(meta *bolt.Bucket) {
	if v := meta.Get(keyIncarnation); len(v) == 8 {
		m.incarnation = binary.BigEndian.Uint64(v)
	}
	m.chain, m.keys = string(meta.Get(keyChain)), bytes.Clone(meta.Get(keyKeys))
	m.told = bytes.Clone(meta.Get(keyTold))
	if meta.Get(keyRefilling) != nil {
		m.refill = refillBegun
	}
}

func (m marks) write(meta *bolt.Bucket) error {
	var errs []error
	put := func(key, value []byte) { errs = append(errs, meta.Put(key, value)) }
	if m.incarnation > 0 {
		put(keyIncarnation, binary.BigEndian.AppendUint64(nil, m.incarnation))
	}
	if m.chain != "" {
		put(keyChain, []byte(m.chain))
	}
	if m.keys != nil {
		put(keyKeys, m.keys)
	}
	if m.told != nil {
		put(keyTold, m.told)
	}
	switch m.refill {
	case refillBegun:
		put(keyRefilling, []byte{1})
	case refillEnded:
		errs = append(errs, meta.Delete(keyRefilling))
	}
	return errors.Join(errs...)
}

// copyAside copies the file for people, before its content is replaced by that of peers.
func (d *disk) copyAside() {
	aside := fmt.Sprintf("%s.readmitted-%s", d.path, clock().UTC().Format("20060102T150405"))
	if err := copyFile(d.path, aside); err != nil {
		d.log.Error("the store of before the readmission was not copied", "error", err)
		return
	}
	d.log.Info("the store of before the readmission was set aside", "copy", aside)
}

// copyFile has the copy on the disk when it returns. It leaves no part of one.
func copyFile(from, to string) error {
	in, err := bounded.Open(from, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err == nil {
		err = out.Sync()
	}
	err = errors.Join(err, out.Close())
	if err == nil {
		err = syncFolder(filepath.Dir(to))
	}
	if err != nil {
		err = errors.Join(err, os.Remove(to))
	}
	return err
}
