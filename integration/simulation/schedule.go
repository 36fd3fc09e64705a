package simulation

import (
	"bufio"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Schedule is one story: who there is, and what befalls them.
type Schedule struct {
	Seed    uint64 // of the network's delays and losses
	Sites   []Site
	Return  string        // hold DURATION, manual, or ramp DURATION
	Steer   string        // failover or active-active
	Actions []Action      // by time
	End     time.Duration // when everything is healed; the check of what is then left follows
}

// Site is one site of a schedule. Its nodes are called by its name and a number from 1.
type Site struct {
	Name     string
	Metro    string
	Role     string // production, standby or witness
	Nodes    int
	Requires bool // it has an uplink that its own nodes probe
}

// Action is one thing that happens.
type Action struct {
	At   time.Duration
	Verb string
	Args []string
}

func (a Action) String() string {
	return fmt.Sprintf("%7.2fs %s", a.At.Seconds(), strings.Join(append([]string{a.Verb}, a.Args...), " "))
}

// String is the schedule as Parse reads it.
func (s *Schedule) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d\n", s.Seed)
	for _, site := range s.Sites {
		fmt.Fprintf(&b, "site %s %s %s %d", site.Name, site.Metro, site.Role, site.Nodes)
		if site.Requires {
			b.WriteString(" requires")
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "return %s\nsteer %s\n", s.Return, s.Steer)
	for _, a := range s.Actions {
		fmt.Fprintln(&b, a)
	}
	fmt.Fprintf(&b, "%7.2fs heal\n", s.End.Seconds())
	return b.String()
}

// Clone is a copy that shares nothing that is changed.
func (s *Schedule) Clone() *Schedule {
	c := *s
	c.Sites, c.Actions = slices.Clone(s.Sites), slices.Clone(s.Actions)
	return &c
}

// Parse reads a schedule. Lines that begin with # are comments.
func Parse(text string) (*Schedule, error) {
	s := &Schedule{Seed: 1, Return: "hold 5s", Steer: "failover"}
	lines := bufio.NewScanner(strings.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		line, _, _ := strings.Cut(lines.Text(), "#")
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if err := s.parseLine(words); err != nil {
			return nil, fmt.Errorf("line %d: %q: %w", n, line, err)
		}
	}
	if len(s.Sites) == 0 || s.End == 0 {
		return nil, fmt.Errorf("found %d sites and an end at %v, expected sites and a heal", len(s.Sites), s.End)
	}
	return s, lines.Err()
}

func (s *Schedule) parseLine(words []string) (err error) {
	switch rest := words[1:]; words[0] {
	case "seed":
		if len(rest) == 1 {
			s.Seed, err = strconv.ParseUint(rest[0], 10, 64)
		}
		return err
	case "site":
		if len(rest) < 4 {
			return fmt.Errorf("expected NAME METRO ROLE NODES [requires]")
		}
		site := Site{Name: rest[0], Metro: rest[1], Role: rest[2], Requires: slices.Contains(rest[4:], "requires")}
		site.Nodes, err = strconv.Atoi(rest[3])
		s.Sites = append(s.Sites, site)
		return err
	case "return":
		s.Return = strings.Join(rest, " ")
		return nil
	case "steer":
		s.Steer = strings.Join(rest, " ")
		return nil
	}
	at, err := time.ParseDuration(words[0])
	if err != nil || len(words) < 2 {
		return fmt.Errorf("expected seed, site, return, steer, or a time and an action")
	}
	if words[1] == "heal" {
		s.End = at
		return nil
	}
	s.Actions = append(s.Actions, Action{at, words[1], words[2:]})
	return nil
}
