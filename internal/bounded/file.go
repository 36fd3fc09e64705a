package bounded

import (
	"errors"
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
	f, err := Open(path, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
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

// ErrIrregular is the error of a path where something else than a regular file stands.
var ErrIrregular = errors.New("expected a regular file")

// Open opens a regular file as os.OpenFile does, and refuses all else, without
// waiting, with ErrIrregular. The errors name the path.
func Open(path string, flag int, perm fs.FileMode) (*os.File, error) {
	f, err := os.OpenFile(path, flag|syscall.O_NONBLOCK, perm)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s: %w, found %s", path, ErrIrregular, kind(info.Mode()))
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
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
