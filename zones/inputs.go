package zones

import (
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// inputs are the files that a zone was read from, by the hash of their bytes:
// size and time of change say too little about a file that was deployed anew.
type inputs struct {
	file  string                       // the zone's own
	sums  map[string][sha256.Size]byte // by path below its folder; "" is the zone's own file
	mixed bool                         // a file changed while it was read, or was not read to its end
}

// summed hashes what is read through it.
type summed struct {
	r     io.Reader
	sum   hash.Hash
	ended bool // all of it was read
}

func (s *summed) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.sum.Write(p[:n])
	s.ended = s.ended || err == io.EOF
	return n, err
}

func (in *inputs) begin(r io.Reader) *summed { return &summed{r: r, sum: sha256.New()} }

func (in *inputs) end(rel string, s *summed) {
	sum := [sha256.Size]byte(s.sum.Sum(nil))
	if before, twice := in.sums[rel]; !s.ended || twice && before != sum {
		in.mixed = true
	}
	if in.sums == nil {
		in.sums = map[string][sha256.Size]byte{}
	}
	in.sums[rel] = sum
}

// unchanged says whether a zone read from file now would be read from the same bytes.
func (in *inputs) unchanged(file string, opt Options) bool {
	if in.mixed || in.file != file || len(in.sums) == 0 {
		return false
	}
	pace := newPacer(opt.Yield)
	for rel, want := range in.sums {
		if sum, err := in.hash(rel, pace); err != nil || sum != want {
			return false
		}
	}
	return true
}

func (in *inputs) hash(rel string, pace *pacer) (sum [sha256.Size]byte, err error) {
	var f *os.File
	if rel == "" {
		f, err = openFile(in.file)
	} else {
		f, err = openBelow(filepath.Dir(in.file), rel)
	}
	if err != nil {
		return sum, err
	}
	defer f.Close()
	h, chunk := sha256.New(), make([]byte, 8<<10) // 16 of them, between two looks at the pace, take some 100 µs
	for {
		n, err := f.Read(chunk)
		h.Write(chunk[:n])
		if errors.Is(err, io.EOF) {
			return [sha256.Size]byte(h.Sum(nil)), nil
		}
		if err != nil {
			return sum, err
		}
		pace.tick()
	}
}

// openBelow opens an included file, as the parser does.
func openBelow(dir, rel string) (*os.File, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	f, err := root.OpenFile(rel, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		f.Close()
		return nil, errors.Join(err, errIrregular)
	}
	return f, nil
}
