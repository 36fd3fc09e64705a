package api

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// SocketName is the socket's file in a node's data folder.
const SocketName = "pharos.sock"

const (
	socketMode    = 0o660           // its group may connect; what they may do is another question
	maxSocketPath = 107             // unix(7), less the final NUL
	staleTimeout  = 2 * time.Second // to find out whether somebody answers
)

// SocketPath is where the node with this data folder is spoken to.
func SocketPath(dataDir string) string { return filepath.Join(dataDir, SocketName) }

// listenUnix opens the socket. One that a crash left behind is replaced; one
// that somebody answers on is not.
func listenUnix(path string) (*net.UnixListener, error) {
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("socket %s: the path has %d characters and the kernel takes %d: choose a shorter data folder", path, len(path), maxSocketPath)
	}
	if err := removeStale(path); err != nil {
		return nil, fmt.Errorf("socket %s: %w", path, err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("socket %s: %w", path, err)
	}
	if err := os.Chmod(path, socketMode); err != nil {
		return nil, errors.Join(fmt.Errorf("socket %s: %w", path, err), l.Close())
	}
	return l, nil
}

// removeStale takes a dead socket away. Only a refused connection proves that
// nobody listens; anything else that is in the way stays.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode()&fs.ModeSocket == 0 {
		return errors.New("there is something in its place that is no socket: move it away")
	}
	c, err := net.DialTimeout("unix", path, staleTimeout)
	if err == nil {
		_ = c.Close()
		return errors.New("another node answers on it: stop that one, or give this one a data folder of its own")
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("can't tell whether another node answers on it: %w", err)
	}
	return os.Remove(path)
}
