package policy

import (
	"encoding/json"
	"slices"
	"strings"
)

// merge takes one entry in, if it stays beside the one with its key, and says so.
func (t *turn) merge(e Entry) bool {
	key := e.EntryKey()
	old, ok := t.entries[key]
	if ok && !e.Replaces(old) {
		return false
	}
	if ok && e.Kind == KindOverride {
		t.drop(EntryKey{KindFall, old.Stamp.String()}) // of what is replaced
	}
	t.entries[key] = e
	return true
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
	e := Entry{Kind: kind, Key: key, Deleted: deleted}
	if value != nil {
		e.Value = encode(value)
	}
	return t.keep(e)
}

func (t *turn) writeMove(m Move) {
	t.keep(Entry{Kind: KindMove, Key: moveKey(&m), Rank: m.Number, Value: encode(m)})
}

// keep stamps an entry of the machine's own, takes it in and has it stored.
func (t *turn) keep(e Entry) Entry {
	e.Author = "machine"
	e.Stamp = t.stamp(e.EntryKey(), t.now)
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

// moveKey is the key of a move, by which the newest of its chain is found: "SERVICE/EPOCH", or
// "SERVICE/in/STAMP" inside a site override.
func moveKey(m *Move) string {
	if m.Override != (Stamp{}) {
		return string(m.Service) + "/in/" + m.Override.String()
	}
	return string(m.Service) + "/" + m.Epoch.String()
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
		if !ok || !known || moveKey(&m) != key.Key || m.Number != e.Rank {
			continue
		}
		sv := &s.svcs[i]
		switch {
		case m.Override != (Stamp{}):
			sv.inside[m.Override] = chain{&m}
		case m.Epoch == epochs[m.Service]:
			sv.main = chain{&m}
		}
	}
}
