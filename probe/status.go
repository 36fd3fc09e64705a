package probe

import (
	"fmt"
	"strconv"
	"strings"
)

// Statuses is a set of HTTP status codes.
type Statuses []StatusRange

// StatusRange is the codes First to Last, both included.
type StatusRange struct {
	First int `json:"first"`
	Last  int `json:"last"`
}

// ParseStatuses reads "200", "200-299" or "200,301-302".
func ParseStatuses(s string) (Statuses, error) {
	var set Statuses
	for part := range strings.SplitSeq(s, ",") {
		part = strings.TrimSpace(part)
		from, to, isRange := strings.Cut(part, "-")
		if !isRange {
			to = from
		}
		first, err := parseStatus(from)
		if err != nil {
			return nil, err
		}
		last, err := parseStatus(to)
		if err != nil {
			return nil, err
		}
		if first > last {
			return nil, fmt.Errorf("status range %q goes down", part)
		}
		set = append(set, StatusRange{first, last})
	}
	return set, nil
}

func parseStatus(s string) (int, error) {
	s = strings.TrimSpace(s)
	code, err := strconv.Atoi(s)
	if err != nil || len(s) != 3 || code < 100 {
		return 0, fmt.Errorf("%q is no HTTP status (100 to 999)", s)
	}
	return code, nil
}

// Has says whether code is in the set. An empty set is 200-299.
func (s Statuses) Has(code int) bool {
	if len(s) == 0 {
		return code >= 200 && code <= 299
	}
	for _, r := range s {
		if code >= r.First && code <= r.Last {
			return true
		}
	}
	return false
}

// String is the form that ParseStatuses reads.
func (s Statuses) String() string {
	if len(s) == 0 {
		return "200-299"
	}
	parts := make([]string, len(s))
	for i, r := range s {
		parts[i] = strconv.Itoa(r.First)
		if r.Last != r.First {
			parts[i] += "-" + strconv.Itoa(r.Last)
		}
	}
	return strings.Join(parts, ",")
}
