package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/scloudstack/pharos/policy"
)

// style is how a word looks on a terminal.
type style string

const (
	plain  style = ""
	bold   style = "1"
	dim    style = "2"
	red    style = "31"
	green  style = "32"
	yellow style = "33"
	blue   style = "36"
)

// page prints for people: aligned, and coloured on a terminal only.
type page struct {
	w     io.Writer
	color bool
	width int // of the terminal, where sentences are broken; 0: they are not, for grep
}

func (a *app) page() *page {
	p := &page{w: a.out, color: a.colored()}
	if f, ok := a.out.(*os.File); ok && a.terminal() {
		p.width, _, _ = term.GetSize(int(f.Fd()))
	}
	return p
}

// terminal tells whether a person reads the output as it comes.
func (a *app) terminal() bool {
	f, ok := a.out.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) && a.getenv("TERM") != "dumb"
}

// colored is terminal, unless its user said no (https://no-color.org).
func (a *app) colored() bool { return a.terminal() && a.getenv("NO_COLOR") == "" }

// json prints the answer as the node gave it, for programs.
func (a *app) json(v any) error {
	enc := json.NewEncoder(a.out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// show prints v as JSON, or for people.
func (a *app) show(v any, people func(p *page)) error {
	if a.output == "json" {
		return a.json(v)
	}
	people(a.page())
	return nil
}

// shown is text that may be escaped as it is: what is not printable in it is the program's own.
type shown string

// show is text that may come from anywhere: a peer's entries were not judged by this node.
func show(text string) shown { return shown(policy.Printable(text)) }

// escaped formats a value, and makes of it what may be shown.
type escaped struct{ value any }

func (v escaped) Format(f fmt.State, verb rune) {
	_, _ = io.WriteString(f, policy.Printable(fmt.Sprintf(fmt.FormatString(f, verb), v.value)))
}

// linef prints a line. Only what the format says, and what is shown already, is escaped as it is.
func (p *page) linef(format string, args ...any) {
	for i, a := range args {
		if _, ok := a.(shown); !ok {
			args[i] = escaped{a}
		}
	}
	fmt.Fprintf(p.w, format+"\n", args...)
}

// wrap breaks a sentence that begins after so many columns; what does not fit stands below, indented.
func (p *page) wrap(s string, after, indent int) shown {
	text := policy.Printable(s)
	if p.width < indent+40 {
		return shown(text)
	}
	var b strings.Builder
	for i, word := range strings.Split(text, " ") {
		n := utf8.RuneCountInString(word)
		switch {
		case i == 0:
		case after+1+n > p.width:
			b.WriteString("\n" + strings.Repeat(" ", indent))
			after = indent
		default:
			b.WriteByte(' ')
			after++
		}
		b.WriteString(word)
		after += n
	}
	return shown(b.String())
}

func (p *page) heading(text string) { p.linef("\n%s", p.paint(bold, text)) }

func (p *page) paint(s style, text string) shown { return p.cell(cs(s, text)) }

func (p *page) cell(c cell) shown {
	if !p.color || c.style == plain || c.text == "" {
		return c.text
	}
	return "\x1b[" + shown(c.style) + "m" + c.text + "\x1b[0m"
}

// cell is one word or phrase of a table.
type cell struct {
	text  shown
	style style
}

func c(text string) cell { return cell{text: show(text)} }

func cf(format string, args ...any) cell { return c(fmt.Sprintf(format, args...)) }

func cs(s style, text string) cell { return cell{show(text), s} }

// table aligns its columns; the last one may be as long as it likes.
type table struct {
	indent string
	rows   [][]cell
}

func (t *table) add(cells ...cell) { t.rows = append(t.rows, cells) }

// head adds a row of column names.
func (t *table) head(names ...string) {
	row := make([]cell, len(names))
	for i, n := range names {
		row[i] = cs(dim, n)
	}
	t.rows = append(t.rows, row)
}

func (p *page) table(t *table) {
	var width []int
	for _, row := range t.rows {
		for i, cell := range row {
			if i == len(width) {
				width = append(width, 0)
			}
			if i < len(row)-1 { // what stands last needs no room behind it
				width[i] = max(width[i], utf8.RuneCountInString(string(cell.text)))
			}
		}
	}
	for _, row := range t.rows {
		var b strings.Builder
		b.WriteString(t.indent)
		for i, cell := range row {
			b.WriteString(string(p.cell(cell)))
			if i < len(row)-1 {
				b.WriteString(strings.Repeat(" ", width[i]-utf8.RuneCountInString(string(cell.text))+2))
			}
		}
		p.linef("%s", shown(strings.TrimRight(b.String(), " ")))
	}
}

// length is a length of time as people say it: at most two units. What is less than none is none.
func length(d time.Duration) string {
	switch d = max(0, d); {
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return twoUnits(int(d.Minutes()), "m", int(d.Seconds())%60, "s")
	case d < 48*time.Hour:
		return twoUnits(int(d.Hours()), "h", int(d.Minutes())%60, "m")
	default:
		return twoUnits(int(d.Hours())/24, "d", int(d.Hours())%24, "h")
	}
}

func twoUnits(big int, bigUnit string, small int, smallUnit string) string {
	if small == 0 {
		return fmt.Sprintf("%d%s", big, bigUnit)
	}
	return fmt.Sprintf("%d%s%d%s", big, bigUnit, small, smallUnit)
}

// since is for how long something has been so, by the node's clock; "" where it
// never was. What another clock stamped may begin only later by this one.
func since(now, t time.Time) string {
	switch {
	case t.IsZero():
		return ""
	case t.Sub(now) >= aheadShows:
		return "0s, stamped " + ahead(now, t)
	}
	return length(now.Sub(t))
}

// ago is when something was, by the node's clock.
func ago(now, t time.Time) string {
	if t.Sub(now) >= aheadShows {
		return ahead(now, t)
	}
	return length(now.Sub(t)) + " ago"
}

// aheadShows is from when on a time to come is said to be one. Clocks that are kept
// together differ by less.
const aheadShows = time.Second

func ahead(now, t time.Time) string { return length(t.Sub(now)) + " ahead of this clock" }

// clock is a time of day for people, with the date where it is another day.
func clock(now, t time.Time) string {
	if now.Local().Format(time.DateOnly) == t.Local().Format(time.DateOnly) {
		return t.Local().Format(time.TimeOnly)
	}
	return t.Local().Format(time.DateTime)
}

// count is a number with its noun: "1 zone", "3 zones".
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
