package bounded

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// ReadFile reads a regular file of at most size bytes, whose mode has none of the
// permission bits forbidden; 0: any mode will do. All else is refused before it is
// read: a FIFO would hold the reader until somebody writes to it, a device has no
// end. A symbolic link is followed, and it is the opened file that is judged. The
// error of a file that is not there is fs.ErrNotExist; all name the path.
func ReadFile(path string, size int, forbidden fs.FileMode) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: expected a regular file, found %s", path, kind(info.Mode()))
	}
	if perm := info.Mode().Perm(); perm&forbidden != 0 {
		return nil, fmt.Errorf("%s: found mode %04o, expected %04o or stricter: others must not read or write it", path, perm, 0o666&^forbidden)
	}
	text, err := io.ReadAll(io.LimitReader(f, int64(size)+1))
	if err != nil {
		return nil, err
	}
	if len(text) > size {
		return nil, fmt.Errorf("%s: found more than %d bytes, expected no more", path, size)
	}
	return text, nil
}

// kind is what stands at a path, for people.
func kind(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "a folder"
	case m&fs.ModeNamedPipe != 0:
		return "a FIFO"
	case m&fs.ModeDevice != 0:
		return "a device"
	}
	return "something else"
}
