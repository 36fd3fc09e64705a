package zones

// Set is a number of zones, to be found by name.
type Set struct{ byApex map[string]*Zone }

// NewSet makes a Set. Of two zones with one name the last stays.
func NewSet(zs ...*Zone) Set {
	s := Set{byApex: make(map[string]*Zone, len(zs))}
	for _, z := range zs {
		s.byApex[string(z.apex)] = z
	}
	return s
}

// Find returns the deepest zone that a name (in canonical wire form) is in, or
// nil. A question for DS at a zone's apex belongs to the parent zone, where
// that is in the set as well (RFC 4035 §3.1.4.1).
func (s Set) Find(name []byte, qtype uint16) *Zone {
	var apex *Zone
	for i := 0; i < len(name); i += 1 + int(name[i]) {
		z := s.byApex[string(name[i:])]
		if z == nil {
			continue
		}
		if i == 0 && qtype == typeDS && len(name) > 1 {
			apex = z
			continue
		}
		return z
	}
	return apex
}
