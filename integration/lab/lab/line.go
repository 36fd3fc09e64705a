package lab

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// line is the rest of a line whose first word is known.
type line struct {
	stage  *Stage
	lab    *Lab
	rest   []string
	out    io.Writer
	errOut io.Writer
}

// next takes the next word.
func (l *line) next(what string) (string, error) {
	if len(l.rest) == 0 {
		return "", fmt.Errorf("%w: %s is missing", errUsage, what)
	}
	w := l.rest[0]
	l.rest = l.rest[1:]
	return w, nil
}

// is takes the next word where it is this one.
func (l *line) is(word string) bool {
	if len(l.rest) == 0 || l.rest[0] != word {
		return false
	}
	l.rest = l.rest[1:]
	return true
}

// end wants no more words.
func (l *line) end() error {
	if len(l.rest) > 0 {
		return fmt.Errorf("%w: %q is too much", errUsage, strings.Join(l.rest, " "))
	}
	return nil
}

func (l *line) duration(what string) (time.Duration, error) {
	w, err := l.next(what)
	if err != nil {
		return 0, err
	}
	return parseDuration(what, w)
}

func parseDuration(what, text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%w: %s %q: expected a time, such as 200ms or 1m30s", errUsage, what, text)
	}
	return d, nil
}

// site, and node below, fail the word where there is none of the name.
func (l *line) site() (*Site, error) {
	name, err := l.next("a site")
	if err != nil {
		return nil, err
	}
	return l.lab.Site(name), nil
}

func (l *line) node() (*Node, error) {
	name, err := l.next("a node")
	if err != nil {
		return nil, err
	}
	return l.lab.Node(name), nil
}

// link takes LINK, or uplink SITE, or cable NODE.
func (l *line) link() (*Link, error) {
	switch {
	case l.is("uplink"):
		s, err := l.site()
		if err != nil {
			return nil, err
		}
		return s.Uplink(), nil
	case l.is("cable"):
		n, err := l.node()
		if err != nil {
			return nil, err
		}
		return n.Cable(), nil
	}
	name, err := l.next("a link")
	if err != nil {
		return nil, err
	}
	return l.lab.Link(name), nil
}

// from takes from SITE; it is empty where the line does not say it.
func (l *line) from() (string, error) {
	if !l.is("from") {
		return "", nil
	}
	return l.next("a site")
}

// settings takes all that is left as KEY=VALUE, or KEY alone.
func (l *line) settings() (keys []string, values map[string]string) {
	values = map[string]string{}
	for _, w := range l.rest {
		key, value, _ := strings.Cut(w, "=")
		keys = append(keys, key)
		values[key] = value
	}
	l.rest = nil
	return keys, values
}

// impairment takes KEY=VALUE ... .
func (l *line) impairment() (Impairment, error) {
	var to Impairment
	if len(l.rest) == 0 {
		return to, fmt.Errorf("%w: KEY=VALUE is missing", errUsage)
	}
	keys, values := l.settings()
	for _, key := range keys {
		value := values[key]
		var err error
		switch key {
		case "delay":
			to.Delay, err = parseDuration(key, value)
		case "jitter":
			to.Jitter, err = parseDuration(key, value)
		case "queue":
			to.Queue, err = parseDuration(key, value)
		case "loss":
			to.Loss, err = parseShare(key, value)
		case "duplicate":
			to.Duplicate, err = parseShare(key, value)
		case "reorder":
			to.Reorder, err = parseShare(key, value)
		case "bandwidth":
			to.Bandwidth, err = parseBandwidth(value)
		default:
			err = fmt.Errorf("%w: %q: expected delay, jitter, queue, loss, duplicate, reorder or bandwidth", errUsage, key)
		}
		if err != nil {
			return to, err
		}
	}
	return to, nil
}

func parseShare(what, text string) (float64, error) {
	number, is := strings.CutSuffix(text, "%")
	share, err := strconv.ParseFloat(number, 64)
	if err != nil || !is || share < 0 || share > 100 {
		return 0, fmt.Errorf("%w: %s %q: expected 0%% to 100%%", errUsage, what, text)
	}
	return share / 100, nil
}

func parseBandwidth(text string) (int64, error) {
	for _, unit := range []struct {
		name string
		bits float64
	}{{"Gbit/s", 1e9}, {"Mbit/s", 1e6}, {"kbit/s", 1e3}} {
		if number, is := strings.CutSuffix(text, unit.name); is {
			if n, err := strconv.ParseFloat(number, 64); err == nil && n > 0 {
				return int64(n * unit.bits), nil
			}
		}
	}
	return 0, fmt.Errorf("%w: bandwidth %q: expected a number and kbit/s, Mbit/s or Gbit/s", errUsage, text)
}

func parseOctets(text string) (int64, error) {
	for unit, octets := range map[string]int64{"kiB": 1 << 10, "MiB": 1 << 20} {
		if number, is := strings.CutSuffix(text, unit); is {
			if n, err := strconv.ParseInt(number, 10, 32); err == nil && n > 0 {
				return n * octets, nil
			}
		}
	}
	return 0, errors.New("expected a number and kiB or MiB")
}

// manner is how long something is expected, and of whom.
type manner struct {
	within, steady time.Duration // neither: now
	on             []*Node       // none: all that run
}

// mannerWords begin what follows the thing that is expected.
var mannerWords = []string{"within", "for", "on", "pharos"}

// things takes all words up to those of the manner.
func (l *line) things() []string {
	n := slices.IndexFunc(l.rest, func(w string) bool { return slices.Contains(mannerWords, w) })
	if n < 0 {
		n = len(l.rest)
	}
	things := l.rest[:n]
	l.rest = l.rest[n:]
	return things
}

// manner takes within TIME, for TIME, on NODE ... .
func (l *line) manner() (m manner, err error) {
	for {
		switch {
		case l.is("within"):
			m.within, err = l.duration("within")
		case l.is("for"):
			m.steady, err = l.duration("for")
		case l.is("on"):
			for len(l.rest) > 0 && !slices.Contains(mannerWords, l.rest[0]) {
				n, nodeErr := l.node()
				if nodeErr != nil {
					return m, nodeErr
				}
				m.on = append(m.on, n)
			}
		default:
			return m, nil
		}
		if err != nil {
			return m, err
		}
	}
}

// expect wants f to have no error in that manner: first within, then steadily.
func (m manner) expect(l *Lab, f func() error) {
	l.Eventually(m.within, f)
	if m.steady > 0 {
		l.Steady(m.steady, f)
	}
}
