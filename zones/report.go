package zones

import (
	"cmp"
	"fmt"
	"slices"
)

// place is a line of one of a zone's files.
type place struct {
	file uint16
	line uint32
}

// report collects what is wrong, or odd, in one zone.
type report struct {
	files    []string
	errors   []located
	warnings []located
}

type located struct {
	place
	text string
}

func (r *report) addFile(name string) uint16 {
	r.files = append(r.files, name) // at most maxIncludes, and the zone's own
	return uint16(len(r.files) - 1)
}

func (r *report) errorf(at place, format string, args ...any) {
	r.errors = append(r.errors, located{at, fmt.Sprintf(format, args...)})
}

func (r *report) warnf(at place, format string, args ...any) {
	if len(r.warnings) <= maxProblems {
		r.warnings = append(r.warnings, located{at, fmt.Sprintf(format, args...)})
	}
}

// full says that enough has been found wrong.
func (r *report) full() bool { return len(r.errors) >= maxProblems }

// problems puts what was found in the order of the files.
func (r *report) problems(found []located) Problems {
	slices.SortStableFunc(found, func(a, b located) int {
		return cmp.Or(cmp.Compare(a.file, b.file), cmp.Compare(a.line, b.line))
	})
	var ps Problems
	for i, f := range found {
		if i == maxProblems {
			ps = append(ps, Problem{File: r.files[0], Text: fmt.Sprintf("and more: only the first %d are shown", maxProblems)})
			break
		}
		ps = append(ps, Problem{File: r.files[f.file], Line: int(f.line), Text: f.text})
	}
	return ps
}
