package zones

import (
	"fmt"
	"strings"
)

// Problem is one thing wrong, or odd, in a zone: where, and what.
type Problem struct {
	File string `json:"file,omitempty"`
	Line int    `json:"line,omitempty"` // from 1; 0 where the whole file is meant
	Text string `json:"text"`           // what was found and what was expected
}

// String gives "file:line: text".
func (p Problem) String() string {
	switch {
	case p.File == "":
		return p.Text
	case p.Line == 0:
		return p.File + ": " + p.Text
	}
	return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Text)
}

// Problems is the error of a zone that was refused: everything that was found
// wrong, in the order of the file, at most maxProblems of them.
type Problems []Problem

const maxProblems = 50

// Error gives one line for each problem.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}
