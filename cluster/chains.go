package cluster

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/scloudstack/pharos/policy"
)

const maxForks = 256

// mayTakeRecord says whether an audit record may stand in its chain: only the node that a chain belongs to writes it, and
// what its retention cut does not come back.
func (r *Replica) mayTakeRecord(s *Sealed, from policy.NodeID) bool {
	e := s.Entry
	chain, number, ok := parseRecordKey(e.Key)
	if !ok || !strings.HasPrefix(chain, string(e.Stamp.Node)+"/") {
		r.unwanted.add(itemOf(s))
		r.note(Note{Kind: NoteRefused, Node: e.Stamp.Node, From: from, Key: e.EntryKey(), Text: fmt.Sprintf("%s refused: its key is not of a chain of its author", s)})
		return false
	}
	if number <= r.cuts[chain] {
		r.unwanted.add(itemOf(s))
		return false
	}
	return true
}

// wasCut says whether retention took a record away.
func (r *Replica) wasCut(e policy.Entry) bool {
	if e.Kind != policy.KindAudit {
		return false
	}
	chain, number, ok := parseRecordKey(e.Key)
	return ok && number <= r.cuts[chain]
}

// seeCut removes what the author of a chain cut, when its summary comes: all before it, since the summaries of earlier cuts
// may come later, or never.
func (r *Replica) seeCut(e policy.Entry) {
	rec, err := decodeRecord(e)
	chain, number, ok := parseRecordKey(e.Key)
	if err != nil || !ok || rec.Cut == nil {
		return
	}
	before, through := r.cuts[chain], rec.Cut.Through
	if through >= number || through <= before {
		return
	}
	r.cuts[chain] = through
	if through-before > uint64(r.tree.root.count) {
		r.forgetCut()
		return
	}
	for n := before + 1; n <= through; n++ {
		r.forget(policy.EntryKey{Kind: policy.KindAudit, Key: chain + "/" + strconv.FormatUint(n, 10)})
	}
}

// forgetCut looks for what was cut among all that is held.
func (r *Replica) forgetCut() {
	var over []policy.EntryKey
	for it := range r.tree.under(prefix{}) {
		if r.wasCut(it.sealed.Entry) {
			over = append(over, it.sealed.Entry.EntryKey())
		}
	}
	for _, key := range over {
		r.forget(key)
	}
}

// keepFork keeps the record that did not stay of two that one node signed for one place.
func (r *Replica) keepFork(loser *Sealed) {
	if len(r.forks) == maxForks {
		r.forks = r.forks[1:]
	}
	r.forks = append(r.forks, loser)
}

// Forks are the audit records that came second to a place of a chain, oldest first, as far as they are remembered.
func (r *Replica) Forks() []*Sealed { return r.forks }
