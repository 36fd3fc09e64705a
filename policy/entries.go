package policy

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
)

// machine is the author of what no person ordered.
const machine = "machine"

// merge takes one entry in, if it stays beside the one with its key, and says so.
func (t *turn) merge(e Entry) bool {
	key := e.EntryKey()
	old, ok := t.entries[key]
	if ok && !e.Replaces(old) {
		t.meet(old, e)
		return false
	}
	if t.Obsolete(e) {
		t.fx.Drop = append(t.fx.Drop, key)
		return false
	}
	t.entries[key] = e
	if ok {
		t.meet(e, old)
	}
	return true
}

// forget drops tombstones.
func (t *turn) forget(keys []EntryKey) {
	for _, key := range keys {
		if e, ok := t.entries[key]; ok && e.Deleted {
			delete(t.entries, key)
			t.ordersMoved = true
		}
	}
}

// refill puts entries in the place of those that there are.
func (t *turn) refill(list []Entry) {
	t.entries, t.raised = make(map[EntryKey]Entry, len(list)), map[string]raised{}
	for _, e := range list {
		t.see(e.Stamp, t.now)
		t.merge(e)
	}
	t.sweep(true)
	t.startAlarms()
	t.startChains()
	t.ordersMoved = true
	t.touchAll()
}

// order takes in orders that are on disk already, or entries of other nodes.
func (t *turn) order(list []Entry, given bool) {
	ends := false
	for _, e := range list {
		t.see(e.Stamp, t.now)
		if !t.merge(e) {
			continue
		}
		switch e.Kind {
		case KindMove:
			t.follows(e)
		case KindAlarm:
			t.hearAlarm(e)
		case KindRejoin:
			if given && e.Key == string(t.ix.cfg.Self) && !e.Deleted {
				t.release("ended by " + e.Author + " (" + e.Reason + ")")
			}
		default:
			t.ordersMoved = true
			t.touchOrdered(e)
			ends = ends || e.Kind == KindActiveMetro || e.Kind == KindOverride || e.Kind == KindFall
		}
	}
	if ends {
		t.sweep(false)
	}
}

// follows takes a merged move as the newest of its chain. Where it can't be read the one before it stays, and is to be
// written again, since a start would not know of it.
func (t *turn) follows(e Entry) {
	svc, m := t.moveOf(e)
	if m == nil {
		t.unread[e.Key] = e.Rank
		if last := t.moves[e.Key]; last != nil {
			t.touchService(last.Service)
		}
		return
	}
	delete(t.unread, e.Key)
	t.moves[e.Key] = m
	t.touch(svc)
	if _, ok := t.svcs[svc].inside[m.Override]; !ok && m.Override != (Stamp{}) {
		t.svcs[svc].inside[m.Override] = chain{move: m}
	}
}

// touchOrdered marks the services that an order reaches.
func (t *turn) touchOrdered(e Entry) {
	scope, rest, _ := strings.Cut(e.Key, "/")
	switch {
	case e.Kind == KindAck:
		t.settle(e.Key)
	case e.Kind == KindBlock, e.Kind == KindRejoin:
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
	t.moves[moveKey(&m)] = &m
	delete(t.unread, moveKey(&m))
	t.keep(Entry{Kind: KindMove, Key: moveKey(&m), Rank: m.Number, Value: encode(m)})
}

// keep stamps an entry of the machine's own, takes it in and has it stored.
func (t *turn) keep(e Entry) Entry {
	e.Author = machine
	e.Stamp = t.stamp(e.EntryKey(), t.now)
	t.entries[e.EntryKey()] = e
	t.fx.Store = append(t.fx.Store, e)
	return e
}

// sweep forgets what is over: moves of an earlier epoch, and what belongs to overrides that have ended. At
// a start also the falls of overrides that there are not at all.
func (t *turn) sweep(start bool) {
	there := map[string]bool{}
	for key, e := range t.entries {
		if key.Kind == KindOverride {
			there[e.Stamp.String()] = true
		}
	}
	var over []EntryKey
	for key, e := range t.entries {
		if start && key.Kind == KindFall && !there[key.Key] || t.Obsolete(e) {
			over = append(over, key)
		}
	}
	slices.SortFunc(over, func(a, b EntryKey) int { return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Key, b.Key)) })
	for _, key := range over {
		t.drop(key)
	}
}

// Obsolete says that an entry's time is over for good, so that it need not be kept or taken from a
// peer: a move of an earlier epoch, and the moves and the fall of an override that was replaced,
// cleared or has fallen. What belongs to an order that is not known yet is not.
func (s *State) Obsolete(e Entry) bool {
	switch e.Kind {
	case KindMove:
		svc, rest, _ := strings.Cut(e.Key, "/")
		if inside, ok := strings.CutPrefix(rest, "in/"); ok {
			stamp, err := ParseStamp(inside)
			m, known := decode[Move](e)
			return err == nil && known && s.overrideOver(m.OverrideKey, stamp)
		}
		epoch, err := ParseStamp(rest)
		return err == nil && epoch.Compare(s.epochOf(ServiceID(svc))) < 0
	case KindFall:
		stamp, err := ParseStamp(e.Key)
		f, known := decode[Fall](e)
		held, ok := s.entries[EntryKey{KindOverride, f.Override}]
		return err == nil && known && ok && held.Stamp.Compare(stamp) > 0
	}
	return false
}

// overrideOver says that the override that was given at a stamp is in force no more.
func (s *State) overrideOver(key string, stamp Stamp) bool {
	if _, fallen := s.entries[EntryKey{KindFall, stamp.String()}]; fallen {
		return true
	}
	held, ok := s.entries[EntryKey{KindOverride, key}]
	return ok && held.Stamp.Compare(stamp) > 0
}

// epochOf is the stamp of a service's active metro; zero before a person moved it.
func (s *State) epochOf(id ServiceID) Stamp {
	e, ok := s.entries[EntryKey{KindActiveMetro, string(id)}]
	if v, known := decode[ActiveMetro](e); !ok || !known || e.Deleted || v.Metro == "" {
		return Stamp{}
	}
	return e.Stamp
}

func (t *turn) drop(key EntryKey) {
	if _, ok := t.entries[key]; ok {
		delete(t.entries, key)
		if key.Kind == KindMove {
			delete(t.moves, key.Key)
			delete(t.unread, key.Key)
		}
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

// chainKey is the key of the moves of a service in one epoch, "SERVICE/EPOCH", or inside a site
// override, "SERVICE/in/STAMP".
func chainKey(id ServiceID, epoch, override Stamp) string {
	if override != (Stamp{}) {
		return string(id) + "/in/" + override.String()
	}
	return string(id) + "/" + epoch.String()
}

func moveKey(m *Move) string { return chainKey(m.Service, m.Epoch, m.Override) }

// moveOf reads a move of a configured service; nil: it is none.
func (s *State) moveOf(e Entry) (int, *Move) {
	m, ok := decode[Move](e)
	svc, known := s.ix.svcOf[m.Service]
	if !ok || !known || moveKey(&m) != e.Key || m.Number != e.Rank {
		return 0, nil
	}
	return svc, &m
}

// startChains finds each service's newest moves among the entries.
func (s *State) startChains() {
	for i := range s.svcs {
		s.svcs[i].main = chain{}
		s.svcs[i].inside = map[Stamp]chain{}
	}
	s.moves, s.unread = map[string]*Move{}, map[string]uint64{}
	for key, e := range s.entries {
		if key.Kind != KindMove {
			continue
		}
		svc, m := s.moveOf(e)
		if m == nil {
			s.unread[key.Key] = e.Rank
			continue
		}
		s.moves[key.Key] = m
		if m.Override != (Stamp{}) {
			s.svcs[svc].inside[m.Override] = chain{move: m}
		} else if m.Epoch == s.epochOf(m.Service) {
			s.svcs[svc].main = chain{move: m}
		}
	}
}
