package zones

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// overlay is what WithNames lays over a zone.
type overlay struct {
	names  map[string]bool // by relative wire name: true is steered, false an empty non-terminal over one
	keys   [][]byte        // the sort keys of those that are no node of the zone, in canonical order
	hidden []string
}

// WithNames returns a zone that shares z's data and in which exactly these
// names (in presentation form; a wildcard is one, too) are steered: they exist,
// as do their ancestors, and their A and AAAA records come from elsewhere. The
// zone keeps the rest.
//
// It refuses, all at once, names outside the zone, at or below a delegation,
// below a DNAME, and at a CNAME.
func (z *Zone) WithNames(names ...string) (*Zone, error) {
	c := *z
	c.overlay = nil
	if len(names) == 0 {
		return &c, nil
	}
	o := &overlay{names: map[string]bool{}}
	var errs []error
	for _, name := range names {
		rel, err := c.steerable(name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		o.names[string(rel)] = true
		if s, _ := c.spot(rel); hasAddress(s.node) {
			o.hidden = append(o.hidden, NameText(c.absolute(rel)))
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	for _, rel := range slices.Collect(maps.Keys(o.names)) {
		for rel != "" {
			rel = rel[1+int(rel[0]):]
			if _, exists := c.spot([]byte(rel)); !exists && !o.names[rel] {
				o.names[rel] = false
			}
		}
	}
	for rel := range o.names {
		if _, exists := c.spot([]byte(rel)); !exists {
			o.keys = append(o.keys, appendKey(nil, []byte(rel)))
		}
	}
	slices.SortFunc(o.keys, bytes.Compare)
	slices.Sort(o.hidden)
	c.overlay = o
	return &c, nil
}

// steerable gives the relative name, or says why a name can't be steered.
func (z *Zone) steerable(name string) ([]byte, error) {
	wire, err := NameToWire(name)
	if err != nil {
		return nil, err
	}
	rel, ok := below(wire, z.apex)
	if !ok {
		return nil, fmt.Errorf("%s is not in the zone %s", name, z.name)
	}
	// Any type but DS shows what is at or above the name; a wildcard that
	// matches it is no hindrance.
	r := z.Lookup(wire, typeA)
	switch {
	case r.Kind == Delegation && !r.Wildcard:
		return nil, fmt.Errorf("%s can't be steered: the zone delegates %s", name, NameText(r.RRset.Owner))
	case r.Kind == DNAME:
		return nil, fmt.Errorf("%s can't be steered: it is below the DNAME record of %s", name, NameText(r.RRset.Owner))
	case r.Kind == CNAME && !r.Wildcard:
		return nil, fmt.Errorf("%s can't be steered: the zone has a CNAME record there", name)
	}
	return rel, nil
}

func hasAddress(n node) bool {
	_, a := n.find(typeA)
	_, aaaa := n.find(typeAAAA)
	return a || aaaa
}

// Hidden lists the steered names that have static A or AAAA records in the
// zone, which steering hides.
func (z *Zone) Hidden() []string {
	if z.overlay == nil {
		return nil
	}
	return slices.Clone(z.overlay.hidden)
}

// absolute makes the full name of a relative one.
func (z *Zone) absolute(rel []byte) []byte {
	return append(append(make([]byte, 0, len(rel)+len(z.apex)), rel...), z.apex...)
}
