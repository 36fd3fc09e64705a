package config

import (
	"fmt"
	"slices"

	"github.com/miekg/dns"

	"github.com/scloudstack/pharos/zones"
)

// SteeredNames lists the names of all services by the zone that each is in:
// the deepest one that is configured. Zones without any are missing.
func (s *Settings) SteeredNames() map[string][]string {
	configured := make(map[string]bool, len(s.Zones))
	for _, z := range s.Zones {
		configured[z.Name] = true
	}
	in := make(map[string][]string)
	for _, service := range s.Policy.Services {
		for _, name := range service.Names {
			if zone, ok := deepest(configured, name); ok {
				in[zone] = append(in[zone], name)
			}
		}
	}
	return in
}

// deepest finds the zone that a canonical name is in.
func deepest(zones map[string]bool, name string) (zone string, ok bool) {
	for rest := name; rest != ""; {
		if zones[rest] {
			return rest, true
		}
		next, end := dns.NextLabel(rest, 0)
		if end {
			break
		}
		rest = rest[next:]
	}
	return ".", zones["."]
}

// CheckZones compares the steered names with what the loaded zones hold: a name
// at a CNAME or below a delegation can't be steered, and static HTTPS or SVCB
// records with address hints would send clients past the steering. Its error is
// Errors, each at the name's place in the configuration. Zones that are not
// among loaded, because they failed, are not judged.
func CheckZones(s *Settings, loaded []*zones.Zone) (Warnings, error) {
	byName := make(map[string]*zones.Zone, len(loaded))
	for _, z := range loaded {
		if z != nil {
			byName[z.Name()] = z
		}
	}
	var errs, warns []finding
	for zone, names := range s.SteeredNames() {
		z := byName[zone]
		if z == nil {
			continue
		}
		for _, name := range names {
			at := s.names[name]
			steered, err := z.WithNames(name)
			if err != nil {
				errs = append(errs, finding{at, err.Error()})
				continue
			}
			if err := Hinted(z, name); err != nil {
				errs = append(errs, finding{at, err.Error()})
			}
			if len(steered.Hidden()) > 0 {
				warns = append(warns, finding{at, fmt.Sprintf("%s is steered: the A and AAAA records of the zone %s there are hidden", name, zone)})
			}
		}
	}
	if len(errs) > 0 {
		return sorted(warns), Errors(sorted(errs))
	}
	return sorted(warns), nil
}

// Hinted is an error where a zone has a record with address hints at a steered name.
func Hinted(z *zones.Zone, name string) error {
	if typ := hints(z, name); typ != "" {
		return fmt.Errorf("%s is steered, but the zone %s has a static %s record there with address hints, which clients would use instead: remove ipv4hint and ipv6hint",
			name, z.Name(), typ)
	}
	return nil
}

// hints names the type of a record at a name that carries address hints.
func hints(z *zones.Zone, name string) string {
	owner, err := zones.NameToWire(name)
	if err != nil {
		return ""
	}
	for _, typ := range []uint16{dns.TypeHTTPS, dns.TypeSVCB} {
		set, ok := z.RRset(owner, typ)
		found := false
		if ok {
			set.Each(func(rdata []byte) bool {
				found = found || hasHint(rdata)
				return !found
			})
		}
		if found {
			return dns.TypeToString[typ]
		}
	}
	return ""
}

// hasHint looks for ipv4hint or ipv6hint in the data of an SVCB record: a
// priority, an uncompressed name, and parameters (RFC 9460 §2.2).
func hasHint(rdata []byte) bool {
	if len(rdata) < 3 {
		return false
	}
	rest := rdata[2:]
	for len(rest) > 0 && rest[0] != 0 {
		rest = rest[min(len(rest), 1+int(rest[0])):]
	}
	for rest = rest[min(len(rest), 1):]; len(rest) >= 4; {
		key := dns.SVCBKey(uint16(rest[0])<<8 | uint16(rest[1]))
		if slices.Contains([]dns.SVCBKey{dns.SVCB_IPV4HINT, dns.SVCB_IPV6HINT}, key) {
			return true
		}
		size := 4 + int(rest[2])<<8 + int(rest[3])
		rest = rest[min(len(rest), size):]
	}
	return false
}
