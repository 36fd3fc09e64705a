package zones

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
)

// maxEntry bounds one record in a master file, its comments and line ends
// included. The longest rdata, every octet written as \DDD, takes 262,140.
const maxEntry = 1 << 20

// What makes an entry unreadable. After the first two, the next entry can't be
// found.
var (
	errLongEntry = errors.New("a record longer than 1 MiB; is a parenthesis not closed?")
	errOpenParen = errors.New(`"(" is not closed: expected ")" before the end of the file`)
	errOpenQuote = errors.New("a quoted string is not closed: expected '\"' before the end of the line")
	errCloses    = errors.New(`")" closes nothing: expected "(" before it`)
	errEscape    = errors.New(`found a backslash before a digit: expected three digits, at most \255`)
	errLeadParen = errors.New(`"(" at the beginning of a line: expected a name, a blank or a directive`)
	errBOM       = errors.New("the file begins with a byte order mark: expected plain text")
)

// entry is a line of a master file, or several held together by parentheses
// (RFC 1035 §5.1). Cutting the file into entries tells an error in one apart
// from the next, and gives every record its line.
type entry struct {
	text []byte // ended by a newline
	line int    // its first
	look look
}

// entries reads the entries of a file.
type entries struct {
	r    *bufio.Reader
	line int    // lines read
	text []byte // the entry, reused
	cut  bool   // the last line had no newline
}

// next returns the next entry that is not blank; its text is valid until the
// call after. At the end of the file the error is io.EOF.
func (e *entries) next() (entry, error) {
	for {
		e.text = e.text[:0]
		n := entry{line: e.line + 1}
		for {
			at := len(e.text)
			if err := e.readLine(); err != nil {
				if err == io.EOF && at > 0 {
					err = errOpenParen
				}
				return n, err
			}
			if e.line == 1 && bytes.HasPrefix(e.text, []byte("\ufeff")) {
				return n, errBOM
			}
			if err := n.look.scan(e.text[at:]); err != nil {
				return n, err
			}
			if n.look.parens == 0 {
				break
			}
		}
		switch n.text = e.text; {
		case !n.look.something:
			continue
		case n.text[0] == '(':
			return n, errLeadParen
		}
		return n, nil
	}
}

// readLine appends a line to e.text; the file's last one is given a newline.
func (e *entries) readLine() error {
	begun := false
	for {
		part, err := e.r.ReadSlice('\n')
		e.text = append(e.text, part...)
		begun = begun || len(part) > 0
		switch {
		case len(e.text) > maxEntry:
			return errLongEntry
		case err == bufio.ErrBufferFull:
			continue
		case err == io.EOF && begun:
			e.text = append(e.text, '\n')
			e.cut = true
		case err != nil:
			return err
		}
		e.line++
		return nil
	}
}

// look is what scanning an entry shows.
type look struct {
	something bool // more than blanks and comments
	parens    int  // open ones
	grouped   bool // there are parentheses
	nested    bool // parentheses in parentheses
	glued     bool // a quoted string without a blank before or after it
	odd       bool // octets other than printable ASCII
	cr        bool // carriage returns
}

// scan goes over one line.
func (s *look) scan(line []byte) error {
	quoted := false
	for i := 0; i < len(line); i++ {
		switch c := line[i]; c {
		case '\\':
			s.something = true
			if !goodEscape(line[i+1:]) {
				return errEscape
			}
			i++
		case '"':
			s.something = true
			if quoted = !quoted; quoted {
				s.glued = s.glued || i > 0 && strings.IndexByte(" \t(=", line[i-1]) < 0
			} else {
				s.glued = s.glued || strings.IndexByte(" \t\r\n();\"", line[i+1]) < 0
			}
		case ';':
			if !quoted {
				return nil
			}
		case '(':
			if !quoted {
				s.something = true
				s.parens++
				s.grouped = true
				s.nested = s.nested || s.parens > 1
			}
		case ')':
			if !quoted {
				if s.parens--; s.parens < 0 {
					return errCloses
				}
			}
		case '\n':
			if quoted {
				return errOpenQuote
			}
		case '\r':
			s.cr = true
		case ' ', '\t':
		default:
			s.something = true
			s.odd = s.odd || c < ' ' || c > '~'
		}
	}
	return nil
}

// goodEscape judges what follows a backslash: \DDD or \X (RFC 1035 §5.1).
func goodEscape(b []byte) bool {
	if len(b) == 0 || !isDigit(b[0]) {
		return true
	}
	return len(b) >= 3 && isDigit(b[1]) && isDigit(b[2]) && int(b[0]-'0')*100+int(b[1]-'0')*10+int(b[2]-'0') <= 255
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isBlank(c byte) bool { return c == ' ' || c == '\t' }
