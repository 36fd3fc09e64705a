package policy

import (
	"fmt"
	"strings"
	"time"
)

// word returns the name of v among names, or a number for a value out of range.
func word(v uint8, names []string) string {
	if int(v) < len(names) {
		return names[v]
	}
	return fmt.Sprintf("unknown value %d", v)
}

func parseWord(text []byte, names []string) (uint8, error) {
	for i, n := range names {
		if n == string(text) {
			return uint8(i), nil
		}
	}
	return 0, fmt.Errorf("%q is none of %q", text, names)
}

// length is a length of time without the zeros that Go prints behind it: "10m", not "10m0s".
func length(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

var (
	healthWords   = []string{"unknown", "up", "down"}
	outcomeWords  = []string{"success", "refused", "timeout", "unable"}
	roleWords     = []string{"production", "standby", "witness"}
	steeringWords = []string{"failover", "active-active", "weighted", "nearest"}
	allDownWords  = []string{"last", "all", "primary", "servfail"}
	pickWords     = []string{"turn", "query-id", "client"}
	returnWords   = []string{"hold", "manual", "ramp"}
)

func (h HealthState) String() string  { return word(uint8(h), healthWords) }
func (o Outcome) String() string      { return word(uint8(o), outcomeWords) }
func (r SiteRole) String() string     { return word(uint8(r), roleWords) }
func (s Steering) String() string     { return word(uint8(s), steeringWords) }
func (a AllDown) String() string      { return word(uint8(a), allDownWords) }
func (p PickBy) String() string       { return word(uint8(p), pickWords) }
func (r ReturnPolicy) String() string { return word(uint8(r), returnWords) }

// MarshalText writes the word that the configuration and JSON use.
func (h HealthState) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (h *HealthState) UnmarshalText(text []byte) error {
	v, err := parseWord(text, healthWords)
	*h = HealthState(v)
	return err
}

// MarshalText writes the word that the configuration and JSON use.
func (r SiteRole) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (r *SiteRole) UnmarshalText(text []byte) error {
	v, err := parseWord(text, roleWords)
	*r = SiteRole(v)
	return err
}

// MarshalText writes the word that the configuration and JSON use.
func (s Steering) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (s *Steering) UnmarshalText(text []byte) error {
	v, err := parseWord(text, steeringWords)
	*s = Steering(v)
	return err
}
