package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one fault, or one thing worth a warning, with its place.
type Problem struct {
	File   string // as reached from the path that was given to Load; "" where no file is meant (a flag)
	Line   int    // from 1; 0: the file as a whole
	Column int    // from 1, in characters
	Text   string // "services.shop.ttl: found 10, expected ..."
}

// String is the problem as compilers print theirs: file:line:column: text.
func (p Problem) String() string {
	switch {
	case p.File == "":
		return p.Text
	case p.Line == 0:
		return p.File + ": " + p.Text
	}
	return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.Text)
}

// Errors is everything that is wrong with a configuration, in the order of its
// files and lines. It is the error that Load returns.
type Errors []Problem

func (e Errors) Error() string { return lines(e) }

// Warnings are things that are allowed and probably not meant.
type Warnings []Problem

func (w Warnings) String() string { return lines(w) }

func lines(ps []Problem) string {
	var b strings.Builder
	for i, p := range ps {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(p.String())
	}
	return b.String()
}

// maxProblems bounds what one Load reports: a file of another program should
// not print a line for each of its own.
const maxProblems = 200

// place is where a node stands in a file.
type place struct {
	file         *file
	line, column int
}

func (p place) problem(text string) Problem {
	if p.file == nil {
		return Problem{Text: text}
	}
	return Problem{File: p.file.name, Line: p.line, Column: p.column, Text: text}
}

func (p place) String() string {
	if p.file == nil {
		return "the command line"
	}
	return fmt.Sprintf("%s:%d:%d", p.file.name, p.line, p.column)
}

func (p place) compare(q place) int {
	order := func(f *file) int {
		if f == nil {
			return -1
		}
		return f.order
	}
	return cmp.Or(
		cmp.Compare(order(p.file), order(q.file)),
		cmp.Compare(p.line, q.line),
		cmp.Compare(p.column, q.column),
	)
}

// finding is a problem before it is sorted.
type finding struct {
	at   place
	text string
}

// sorted puts findings in the order of their places, each said once.
func sorted(fs []finding) []Problem {
	slices.SortStableFunc(fs, func(a, b finding) int {
		return cmp.Or(a.at.compare(b.at), strings.Compare(a.text, b.text))
	})
	fs = slices.Compact(fs)
	var ps []Problem
	for i, f := range fs {
		if i == maxProblems {
			ps = append(ps, Problem{Text: fmt.Sprintf("and %d more", len(fs)-i)})
			break
		}
		ps = append(ps, f.at.problem(f.text))
	}
	return ps
}
