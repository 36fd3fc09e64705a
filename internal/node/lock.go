package node

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/scloudstack/pharos/internal/bounded"
)

// ErrInUse is the error of a node whose data folder another process holds.
var ErrInUse = errors.New("the data folder is in use")

// lockFile is the name of the file in the data folder that is locked, and that
// names the process. It is never replaced or removed, so that two processes
// can't hold locks on two files of the same name.
const lockFile = "lock"

// lockFolder takes the data folder for this process until the file is closed.
// A folder that can't be written is locked through a file that is there
// already; an error that is not ErrInUse says that there is none.
func lockFolder(dir string) (*os.File, error) {
	path := filepath.Join(dir, lockFile)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o640)
	writable := err == nil
	if err != nil {
		var rerr error
		if f, rerr = bounded.Open(path, os.O_RDONLY, 0); rerr != nil {
			return nil, fmt.Errorf("lock the data folder: %w", err)
		}
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		by := "another process"
		if pid := readPID(f); pid != "" {
			by = "process " + pid
		}
		return nil, fmt.Errorf("%w: %s is held by %s; stop it, or give this node a --data-dir of its own", ErrInUse, dir, by)
	}
	if writable {
		// The number helps people only; a full disk must not keep a node from starting.
		if f.Truncate(0) == nil {
			_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
		}
	}
	return f, nil
}

func readPID(f *os.File) string {
	b := make([]byte, 32)
	n, _ := f.ReadAt(b, 0)
	s := string(bytes.TrimSpace(b[:n]))
	if _, err := strconv.Atoi(s); err != nil {
		return ""
	}
	return s
}
