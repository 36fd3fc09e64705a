package policy

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// However many orders are lost while nobody looks, the alarm of the conflict stays an entry that fits, and one
// after the other tells of them all.
func TestConflictIsBounded(t *testing.T) {
	const cause = "conflict/override/all"
	s, now := trio(t)
	for i := range 200 {
		now = now.Add(time.Hour)
		var pair Merged
		for at, node := range []NodeID{"edge-b", "edge-r"} {
			pair = append(pair, Entry{
				Kind: KindOverride, Key: "all", Author: "ann", Reason: fmt.Sprint("change ", i), Stamp: Stamp{Wall: now.UnixMilli() + int64(at), Node: node},
				Value: encode(Override{Site: s.ix.sites[at].ID}),
			})
		}
		Step(s, pair, now)
	}
	told := 0
	for range 20 {
		now = now.Add(time.Minute)
		Step(s, Tick{}, now)
		r, is := s.raised[cause]
		if !is {
			break
		}
		if len(r.Text) > maxConflict+500 {
			t.Fatalf("%d octets", len(r.Text))
		}
		told += strings.Count(r.Text, " is lost")
		p, err := s.Judge(Order{Kind: KindAck, Key: cause, Author: "ann"}, now)
		if err != nil {
			t.Fatal(err)
		}
		Step(s, Ordered(p.Entries), now)
	}
	if _, is := s.raised[cause]; is || told != 399 { // all but the last
		t.Errorf("told of %d of 399, raised %v", told, is)
	}
}
