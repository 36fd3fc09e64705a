package zones

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

// Options say how a file is read.
type Options struct {
	// Yield, when set, is called about every 200 µs of work, so that loading
	// does not keep a core from the threads that answer; see Pause.
	Yield func()
}

const (
	maxIncludeDepth = 7
	maxIncludes     = 10_000
	maxGenerated    = 1 << 20 // records made by all $GENERATE directives of a zone
)

// ParseFile reads the master file of the zone origin and checks it. $INCLUDE
// reaches files in and below the file's own folder, symbolic links that lead
// out of it excepted.
//
// The Problems returned with a Zone are warnings. The error, where it is not
// nil, is of type Problems: everything that was found wrong.
func ParseFile(origin, path string, opt Options) (*Zone, []Problem, error) {
	return parseFile(origin, path, nil, opt)
}

// parseFile does what ParseFile does, and notes in what it reads if that is not nil.
func parseFile(origin, path string, in *inputs, opt Options) (*Zone, []Problem, error) {
	f, err := openFile(path)
	if err != nil {
		return nil, nil, Problems{{File: path, Text: fileError("the zone's file", err)}}
	}
	defer f.Close()
	return parse(origin, f, path, true, in, opt)
}

// openFile opens a zone's own file. A FIFO, which would hold its reader for as
// long as nobody writes to it, is refused with all else that is no file.
func openFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		f.Close()
		return nil, errors.Join(err, errIrregular)
	}
	return f, nil
}

var errIrregular = errors.New("expected a regular file")

// Parse reads a zone from r; filename is for messages. There is no folder, so
// $INCLUDE is refused.
func Parse(origin string, r io.Reader, filename string, opt Options) (*Zone, []Problem, error) {
	return parse(origin, r, filename, false, nil, opt)
}

func parse(origin string, r io.Reader, filename string, includes bool, in *inputs, opt Options) (*Zone, []Problem, error) {
	apex, err := NameToWire(origin)
	if err != nil {
		return nil, nil, Problems{{File: filename, Text: "the zone's name: " + err.Error()}}
	}
	p := &parser{
		includes: includes, dir: filepath.Dir(filename), inputs: in,
		b: newBuilder(apex, newPacer(opt.Yield)), generate: maxGenerated,
	}
	return p.run(r, filename)
}

func fileError(what string, err error) string {
	var pe *os.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	return fmt.Sprintf("%s can't be read: %v", what, err)
}

// parser reads the files of one zone into its builder.
type parser struct {
	includes bool     // $INCLUDE is possible
	dir      string   // the zone's folder
	root     *os.Root // the same, once something is included
	inputs   *inputs  // notes what is read; nil: nothing does
	b        *builder
	generate int // how many records $GENERATE may still make
}

// run reads the zone's file and all that it includes, and builds the zone.
func (p *parser) run(r io.Reader, filename string) (*Zone, []Problem, error) {
	defer p.close()
	defer p.b.release()
	p.file(r, filename, "", NameText(p.b.apex), noTTL, 0)
	z := p.b.build()
	if z == nil {
		return nil, nil, p.b.report.problems(p.b.report.errors)
	}
	return z, p.b.report.problems(p.b.report.warnings), nil
}

// open opens a file below the zone's folder.
func (p *parser) open(rel string) (f *os.File, err error) {
	if p.root == nil {
		if p.root, err = os.OpenRoot(p.dir); err != nil {
			return nil, err
		}
	}
	return p.root.OpenFile(rel, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a FIFO must not hold us
}

func (p *parser) close() {
	if p.root != nil {
		p.root.Close()
	}
}

// buffer is what reading a file needs for a while.
type buffer struct {
	in   *bufio.Reader
	text []byte // an entry
	wire []byte // a record
}

// buffers lets thousands of small zones share a few.
var buffers = sync.Pool{New: func() any {
	return &buffer{in: bufio.NewReaderSize(nil, 64<<10), wire: make([]byte, 1<<16+512)}
}}

// file reads one master file, rel being its path below the root.
func (p *parser) file(r io.Reader, name, rel, origin string, ttl uint32, depth int) {
	buf := buffers.Get().(*buffer)
	defer buffers.Put(buf)
	if p.inputs != nil {
		sum := p.inputs.begin(r)
		r = sum
		defer func() { p.inputs.end(rel, sum) }()
	}
	buf.in.Reset(r)
	s := &source{
		p: p, rel: rel, depth: depth, origin: origin,
		file: p.b.report.addFile(name),
		in:   entries{r: buf.in, text: buf.text},
		rr:   newRecordParser(origin, ttl, buf.wire),
	}
	defer func() { buf.text = s.in.text }()
	for !p.b.report.full() {
		e, err := s.in.next()
		s.line = e.line
		switch err {
		case nil:
			s.entry(e)
		case io.EOF:
			if s.in.cut {
				s.warnf("the last line does not end with a newline: is the file cut off?")
			}
			return
		case errOpenQuote, errCloses, errEscape, errLeadParen:
			s.errorf("%v", err)
		case errLongEntry, errOpenParen, errBOM:
			s.errorf("%v", err)
			return
		default:
			s.errorf("%s", fileError("the file", err))
			return
		}
		p.b.pace.tick()
	}
}

// source is one file that is being read.
type source struct {
	p      *parser
	rel    string // path below the root; "" for the zone's own file
	depth  int    // of $INCLUDE
	file   uint16
	line   int // of the present entry
	in     entries
	origin string
	rr     *recordParser
	told   struct{ cr, noTTL, inherited bool } // warned of once a file
}

func (s *source) errorf(format string, args ...any) {
	s.p.b.report.errorf(place{s.file, uint32(s.line)}, format, args...)
}

func (s *source) warnf(format string, args ...any) {
	s.p.b.report.warnf(place{s.file, uint32(s.line)}, format, args...)
}

// entry reads one entry, and warns of what not every server can read.
func (s *source) entry(e entry) {
	if e.text[0] == '$' {
		s.directive(e.text)
	} else {
		s.record(e)
	}
	switch l := e.look; {
	case l.cr && !s.told.cr:
		s.told.cr = true
		s.warnf("lines end with a carriage return, which Knot does not read")
	case l.nested:
		s.warnf("parentheses inside parentheses, which Knot and NSD do not read")
	case l.glued:
		s.warnf("a quoted string without a blank before or after it, which Knot does not read")
	case l.odd:
		s.warnf("octets that are not printable ASCII, which Knot does not read: \\DDD writes them")
	}
}

// record reads one record.
func (s *source) record(e entry) {
	if isBlank(e.text[0]) && s.rr.owner == "" {
		s.warnf("a record without an owner name before any other: taken for %s", s.origin)
		s.rr.setOwner(s.origin)
	}
	rec, err := s.rr.parse(e)
	if err != nil {
		s.p.b.report.errorf(place{s.file, uint32(s.line + err.line)}, "%s", err.text)
		return
	}
	switch {
	case rec.ttl == noTTL && !s.told.noTTL:
		s.told.noTTL = true
		s.warnf("a record without a TTL, and no $TTL before it: it has the SOA record's MINIMUM")
	case s.rr.inherited && !s.told.inherited:
		s.told.inherited = true
		s.warnf("a record without a TTL, and no $TTL before it: it has that of the record before (RFC 1035 §5.1)")
	}
	if rec.odd != "" {
		s.warnf("%s", rec.odd)
	}
	s.p.b.add(rec, place{s.file, uint32(s.line)})
}

// directive obeys a line that begins with a dollar (RFC 1035 §5.1, RFC 2308 §4).
func (s *source) directive(text []byte) {
	args := fields(text)
	switch word, args := strings.ToUpper(args[0]), args[1:]; word {
	case "$ORIGIN":
		s.originDirective(args)
	case "$TTL":
		s.ttlDirective(args)
	case "$INCLUDE":
		s.include(args)
	case "$GENERATE":
		s.generate(args)
	default:
		s.errorf("unknown directive %s: expected $ORIGIN, $TTL, $INCLUDE or $GENERATE", word)
	}
}

func (s *source) originDirective(args []string) {
	if len(args) != 1 {
		s.errorf("$ORIGIN with %d arguments: expected one domain name", len(args))
		return
	}
	name, ok := absoluteName(args[0], s.origin)
	if !ok {
		s.errorf("$ORIGIN %q: expected a domain name", args[0])
		return
	}
	if name != args[0] && args[0] != "@" {
		s.warnf("$ORIGIN %q is relative, which Knot and NSD do not read", args[0])
	}
	s.origin = name
	s.rr.setOrigin(name)
}

func (s *source) ttlDirective(args []string) {
	if len(args) != 1 {
		s.errorf("$TTL with %d arguments: expected one TTL", len(args))
		return
	}
	ttl, like := readTTL([]byte(args[0]))
	switch {
	case !like || ttl > math.MaxUint32:
		s.errorf("$TTL %q: expected seconds, or numbers with the units w, d, h, m, s, at most %d", args[0], maxTTL)
		return
	case ttl > maxTTL:
		s.warnf("$TTL %d is above %d: it counts as 0 (RFC 2181 §8)", ttl, maxTTL)
		ttl = 0
	}
	s.rr.setTTL(uint32(ttl))
}

// include reads another file, for which the origin may be given. Origin, owner
// and default TTL are the same after it as before it.
func (s *source) include(args []string) {
	if len(args) != 1 && len(args) != 2 {
		s.errorf("$INCLUDE with %d arguments: expected a file name, and perhaps an origin", len(args))
		return
	}
	if s.depth >= maxIncludeDepth {
		s.errorf("$INCLUDE nested more than %d deep", maxIncludeDepth)
		return
	}
	if len(s.p.b.report.files) > maxIncludes {
		s.errorf("more than %d $INCLUDE directives in the zone", maxIncludes)
		return
	}
	if !s.p.includes {
		s.errorf("$INCLUDE is not possible here: the zone is not read from a file")
		return
	}
	origin := s.origin
	if len(args) == 2 {
		name, ok := absoluteName(args[1], s.origin)
		if !ok {
			s.errorf("$INCLUDE with the origin %q: expected a domain name", args[1])
			return
		}
		origin = name
	}
	rel, err := s.includePath(args[0])
	if err != nil {
		s.errorf("$INCLUDE %q: %v", args[0], err)
		return
	}
	f, err := s.p.open(rel)
	if err != nil {
		s.errorf("$INCLUDE %q: %s", args[0], fileError("the file", err))
		return
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		s.errorf("$INCLUDE %q: expected a regular file", args[0])
		return
	}
	s.p.file(f, filepath.Join(s.p.dir, rel), rel, origin, s.rr.ttl, s.depth+1)
}

// includePath turns the argument of $INCLUDE, absolute or relative to the
// including file, into a path below the root.
func (s *source) includePath(arg string) (string, error) {
	rel := path.Join(path.Dir(s.rel), arg)
	if filepath.IsAbs(arg) {
		dir, err := filepath.Abs(s.p.dir)
		if err != nil {
			return "", err
		}
		if rel, err = filepath.Rel(dir, arg); err != nil {
			return "", err
		}
	}
	if !filepath.IsLocal(rel) {
		return "", fmt.Errorf("expected a file in or below the zone's folder %s", s.p.dir)
	}
	return rel, nil
}
