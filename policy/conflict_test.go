package policy

import (
	"fmt"
	"testing"
	"time"
)

// However many orders are lost while nobody looks, the alarm of the conflict stays an entry that fits.
func TestConflictIsBounded(t *testing.T) {
	s, now := trio(t)
	var writes int
	for i := range 200 {
		now = now.Add(time.Hour)
		var pair Merged
		for at, node := range []NodeID{"edge-b", "edge-r"} {
			pair = append(pair, Entry{
				Kind: KindOverride, Key: "all", Author: "ann", Reason: fmt.Sprint("change ", i), Stamp: Stamp{Wall: now.UnixMilli() + int64(at), Node: node},
				Value: encode(Override{Site: s.ix.sites[at].ID}),
			})
		}
		fx := Step(s, pair, now)
		for _, e := range fx.Store {
			if e.Kind == KindAlarm && e.Key == "conflict/override/all" {
				writes++
			}
		}
	}
	r, is := s.raised["conflict/override/all"]
	if n := len(r.Text); !is || n <= maxConflict || n > maxConflict+500 || writes < 10 || writes > 40 {
		t.Errorf("raised %v, %d octets in %d writes", is, n, writes)
	}
}
