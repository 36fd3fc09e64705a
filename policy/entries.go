package policy

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
)

// merge takes one entry in, if it stays beside the one with its key, and says so.
func (t *turn) merge(e Entry) bool {
	key := e.EntryKey()
	old, ok := t.entries[key]
	if ok && !stays(e, old) {
		return false
	}
	if ok && e.Kind == KindOverride {
		t.drop(EntryKey{KindFall, old.Stamp.String()}) // of what is replaced
	}
	t.entries[key] = e
	return true
}

// stays says whether e replaces the old entry of its key.
func stays(e, old Entry) bool {
	switch e.Kind {
	case KindMove, KindFall:
		return e.Stamp.Compare(old.Stamp) < 0
	default:
		return e.Stamp.Compare(old.Stamp) > 0
	}
}

// order takes orders in that are on disk already.
func (t *turn) order(list []Entry) {
	for _, e := range list {
		t.see(e.Stamp, t.now)
		if !t.merge(e) {
			continue
		}
		t.ordersMoved = true
		t.touchOrdered(e)
		if e.Kind == KindMove {
			t.startChains()
		}
	}
}

// touchOrdered marks the services that an order reaches.
func (t *turn) touchOrdered(e Entry) {
	scope, rest, _ := strings.Cut(e.Key, "/")
	switch {
	case e.Kind == KindAck || e.Kind == KindAlarm:
	case e.Kind == KindOverride && scope == "name":
		if ref, ok := t.ix.nameOf[rest]; ok {
			t.touch(ref.svc)
		}
	case e.Kind == KindOverride && scope == "service":
		t.touchService(ServiceID(rest))
	case e.Kind == KindReturn, e.Kind == KindActiveMetro:
		t.touchService(ServiceID(e.Key))
	default: // drains may suspend one another, whatever they are of
		t.touchAll()
	}
}

func (t *turn) touchService(id ServiceID) {
	if i, ok := t.ix.svcOf[id]; ok {
		t.touch(i)
	}
}

// write makes an entry of the machine's own and has it stored.
func (t *turn) write(kind Kind, key string, value any, deleted bool) Entry {
	e := Entry{Kind: kind, Key: key, Author: "machine", Deleted: deleted}
	e.Stamp = t.stamp(e.EntryKey(), t.now)
	if value != nil {
		e.Value = encode(value)
	}
	t.entries[e.EntryKey()] = e
	t.fx.Store = append(t.fx.Store, e)
	return e
}

// dropFalls forgets the falls of overrides that there are no more.
func (t *turn) dropFalls() {
	there := map[string]bool{}
	for key, e := range t.entries {
		if key.Kind == KindOverride {
			there[e.Stamp.String()] = true
		}
	}
	var over []string
	for key := range t.entries {
		if key.Kind == KindFall && !there[key.Key] {
			over = append(over, key.Key)
		}
	}
	slices.Sort(over)
	for _, key := range over {
		t.drop(EntryKey{KindFall, key})
	}
}

func (t *turn) drop(key EntryKey) {
	if _, ok := t.entries[key]; ok {
		delete(t.entries, key)
		t.fx.Drop = append(t.fx.Drop, key)
	}
}

// encode writes an entry's value. The types it is given always encode.
func encode(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic("policy: entry value: " + err.Error())
	}
	return data
}

// decode reads an entry's value; one that does not parse is of a later version.
func decode[T any](e Entry) (T, bool) {
	var v T
	if len(e.Value) == 0 {
		return v, true
	}
	return v, json.Unmarshal(e.Value, &v) == nil
}

// moveKey is the key of a move: "SERVICE/EPOCH/NUMBER", or "SERVICE/in/STAMP/NUMBER"
// inside a site override.
func moveKey(m *Move) string {
	return chainKey(m) + strconv.FormatUint(m.Number, 10)
}

func chainKey(m *Move) string {
	if m.Override != (Stamp{}) {
		return string(m.Service) + "/in/" + m.Override.String() + "/"
	}
	return string(m.Service) + "/" + m.Epoch.String() + "/"
}

// startChains finds each service's newest moves among the entries.
func (s *State) startChains() {
	epochs := map[ServiceID]Stamp{}
	for key, e := range s.entries {
		if key.Kind == KindActiveMetro && !e.Deleted {
			epochs[ServiceID(key.Key)] = e.Stamp
		}
	}
	for i := range s.svcs {
		s.svcs[i].main = chain{}
		s.svcs[i].inside = map[Stamp]chain{}
	}
	for key, e := range s.entries {
		if key.Kind != KindMove {
			continue
		}
		m, ok := decode[Move](e)
		i, known := s.ix.svcOf[m.Service]
		if !ok || !known || moveKey(&m) != key.Key {
			continue
		}
		sv := &s.svcs[i]
		switch {
		case m.Override != (Stamp{}):
			if c := sv.inside[m.Override]; c.move == nil || c.move.Number < m.Number {
				sv.inside[m.Override] = chain{&m}
			}
		case m.Epoch == epochs[m.Service]:
			if sv.main.move == nil || sv.main.move.Number < m.Number {
				sv.main = chain{&m}
			}
		}
	}
}
