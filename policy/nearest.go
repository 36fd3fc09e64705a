package policy

import (
	"fmt"
	"maps"
	"slices"
)

func (s *State) names() []string { return slices.Sorted(maps.Keys(s.ix.nameOf)) }

func (s *State) alarmCauses() []string { return slices.Sorted(maps.Keys(s.raised)) }

func (s *State) service(id ServiceID) (int, error) {
	i, ok := s.ix.svcOf[id]
	if ok {
		return i, nil
	}
	var known []string
	for _, in := range s.ix.services {
		known = append(known, string(in.ID))
	}
	return 0, unknown("service", string(id), known)
}

func (s *State) site(id SiteID) (int, error) {
	i, ok := s.ix.siteOf[id]
	if ok {
		return i, nil
	}
	var known []string
	for _, site := range s.ix.sites {
		known = append(known, string(site.ID))
	}
	return 0, unknown("site", string(id), known)
}

// unknown is the error of a word that names nothing, with the nearest that does.
func unknown(what, got string, known []string) error {
	if len(known) == 0 {
		return fmt.Errorf("no %s %q: there is none at all", what, got)
	}
	best, least := "", len(got)/2+2
	for _, k := range known {
		if d := distance(got, k); d < least {
			best, least = k, d
		}
	}
	if best == "" {
		return fmt.Errorf("no %s %q", what, got)
	}
	return fmt.Errorf("no %s %q: did you mean %q?", what, got, best)
}

// distance is how many letters have to be put in, taken out or changed to make a of b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
