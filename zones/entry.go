package zones

import (
	"bufio"
	"errors"
	"io"
)

// maxEntry bounds one record in a master file, its comments and line ends
// included. The longest rdata, every octet written as \DDD, takes 262,140.
const maxEntry = 1 << 20

var (
	errLongEntry = errors.New("a record longer than 1 MiB; is a parenthesis or a quote not closed?")
	errOpenParen = errors.New(`"(" is not closed: expected ")" before the end of the file`)
	errOpenQuote = errors.New("a quoted string is not closed: expected '\"' before the end of the file")
	errCloses    = errors.New(`")" closes nothing: expected "(" before it`)
)

// entries cuts a master file into entries (RFC 1035 §5.1): lines, or several
// of them held together by parentheses or quotes. So an error in one is told
// apart from the next, and every record's line is known.
type entries struct {
	r    *bufio.Reader
	line int    // lines read
	text []byte // the entry, reused
}

// next returns the next entry that is not blank, ended by a newline, and the
// number of its first line. Its text is valid until the call after. At the end
// of the file the error is io.EOF; errCloses concerns this entry alone; after
// any other error there is no next one.
func (e *entries) next() (text []byte, line int, err error) {
	for {
		e.text = e.text[:0]
		line = e.line + 1
		st := entryState{}
		for {
			at := len(e.text)
			if err := e.readLine(); err != nil {
				if err == io.EOF && at > 0 {
					err = st.open()
				}
				return nil, line, err
			}
			if st.scan(e.text[at:]); st.parens <= 0 && !st.quoted {
				break
			}
		}
		if st.parens < 0 {
			return e.text, line, errCloses
		}
		if st.something {
			return e.text, line, nil
		}
	}
}

// readLine appends a line to e.text; the file's last one is given a newline.
func (e *entries) readLine() error {
	for {
		part, err := e.r.ReadSlice('\n')
		e.text = append(e.text, part...)
		switch {
		case len(e.text) > maxEntry:
			return errLongEntry
		case err == nil:
			e.line++
			return nil
		case err == bufio.ErrBufferFull:
			continue
		case err == io.EOF && len(part) > 0 || err == io.EOF && len(e.text) > 0 && e.text[len(e.text)-1] != '\n':
			e.text = append(e.text, '\n')
			e.line++
			return nil
		}
		return err
	}
}

// entryState is what a line leaves open.
type entryState struct {
	parens    int
	quoted    bool
	something bool // there is more than blanks and comments
}

func (s *entryState) scan(line []byte) {
	for i := 0; i < len(line); i++ {
		switch c := line[i]; c {
		case '\\':
			s.something = true
			i++
		case '"':
			s.something = true
			s.quoted = !s.quoted
		case ';':
			if !s.quoted {
				return
			}
		case '(':
			if !s.quoted {
				s.parens++
			}
		case ')':
			if !s.quoted {
				if s.parens--; s.parens < 0 {
					return
				}
			}
		case ' ', '\t', '\r', '\n':
		default:
			s.something = true
		}
	}
}

func (s *entryState) open() error {
	if s.quoted {
		return errOpenQuote
	}
	return errOpenParen
}
