package simulation

import (
	"slices"
	"time"
)

// Shrink makes a schedule shorter as long as fails says that it still fails: fewer actions, fewer nodes and sites, earlier
// and rounder times.
func Shrink(s *Schedule, fails func(*Schedule) bool) *Schedule {
	for better := true; better; {
		better = false
		for _, step := range []func(*Schedule) []*Schedule{fewerActions, fewerNodes, plainer, sooner} {
			for again := true; again; {
				again = false
				for _, c := range step(s) {
					if fails(c) {
						s, again, better = c, true, true
						break
					}
				}
			}
		}
	}
	return s
}

// fewerActions leaves out a half, a quarter ... and single actions.
func fewerActions(s *Schedule) (list []*Schedule) {
	for size := len(s.Actions) / 2; size > 0; size /= 2 {
		for from := 0; from+size <= len(s.Actions); from += size {
			c := s.Clone()
			c.Actions = slices.Delete(c.Actions, from, from+size)
			list = append(list, c)
		}
	}
	return list
}

// fewerNodes takes away the last node of a site, or a site that no action names.
func fewerNodes(s *Schedule) (list []*Schedule) {
	names := func(name string) bool {
		return slices.ContainsFunc(s.Actions, func(a Action) bool { return slices.Contains(a.Args, name) })
	}
	for i, site := range s.Sites {
		last := site.Name + string(rune('0'+site.Nodes))
		if site.Nodes > 0 && !names(last) && (site.Nodes > 1 || !names(site.Name)) {
			c := s.Clone()
			if c.Sites[i].Nodes--; c.Sites[i].Nodes == 0 && i == len(s.Sites)-1 { // else the addresses of the others would move
				c.Sites = c.Sites[:i]
			}
			if len(c.Sites) > 1 {
				list = append(list, c)
			}
		}
	}
	return list
}

// plainer takes away what a schedule may not need.
func plainer(s *Schedule) (list []*Schedule) {
	for i, site := range s.Sites {
		if site.Requires {
			c := s.Clone()
			c.Sites[i].Requires = false
			list = append(list, c)
		}
	}
	for _, seed := range []uint64{1, 2, 3} {
		if seed < s.Seed {
			c := s.Clone()
			c.Seed = seed
			list = append(list, c)
		}
	}
	return list
}

// sooner moves actions, and all after them, to earlier and rounder times.
func sooner(s *Schedule) (list []*Schedule) {
	shift := func(from int, by time.Duration) {
		c := s.Clone()
		for i := from; i < len(c.Actions); i++ {
			c.Actions[i].At -= by
		}
		c.End -= by
		list = append(list, c)
	}
	for i := range len(s.Actions) + 1 {
		at, before := s.End, time.Duration(0)
		if i < len(s.Actions) {
			at = s.Actions[i].At
		}
		if i > 0 {
			before = s.Actions[i-1].At
		}
		for _, by := range []time.Duration{10 * time.Second, time.Second, 100 * time.Millisecond} {
			if at-by >= before && at > by {
				shift(i, by)
			}
		}
		if odd := at % (100 * time.Millisecond); odd > 0 && at-odd >= before {
			shift(i, odd)
		}
	}
	return list
}
