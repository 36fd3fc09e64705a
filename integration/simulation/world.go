package simulation

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/scloudstack/pharos/policy"
)

// World is a schedule being played.
type World struct {
	clock
	top   *topology
	rand  *rand.Rand
	net   *network
	nodes []*node
	truth *truth
	check *checker
	story func(line string) // nil: nobody reads it
}

// Result is what became of a schedule.
type Result struct {
	Violation *Violation    // nil: all that must hold held
	Agreed    time.Duration // how long after the heal all nodes agreed
	Count     Count
	End       string // the state at the end, for comparing two runs
}

// Violation is something that must hold and did not.
type Violation struct {
	Rule string // I1 to I10, "form" where something could not be read or sealed, "panic"
	At   time.Duration
	Text string
}

func (v *Violation) String() string {
	return fmt.Sprintf("%s at %.2fs: %s", v.Rule, v.At.Seconds(), v.Text)
}

// kin says whether two violations are of one sort: of one rule, and in the same words but for names and numbers.
func (v *Violation) kin(o *Violation) bool {
	plain := func(text string) string {
		words := strings.FieldsFunc(text, unicode.IsSpace)
		words = slices.DeleteFunc(words, func(w string) bool { return strings.ContainsAny(w, "0123456789") || len(w) == 1 })
		return strings.Join(words[:min(len(words), 8)], " ")
	}
	return v.Rule == o.Rule && plain(v.Text) == plain(o.Text)
}

// Play runs a schedule. A story, where one is given, is told line by line.
func Play(s *Schedule, story func(line string)) (result Result, err error) {
	top, err := newTopology(s)
	if err != nil {
		return result, err
	}
	w := &World{top: top, rand: rand.New(rand.NewPCG(s.Seed, 11)), story: story}
	w.net = newNetwork(top, w.rand)
	w.truth = newTruth(w)
	w.check = newChecker(w, s)
	for _, p := range top.nodes {
		w.nodes = append(w.nodes, &node{w: w, place: p, disk: newDisk()})
	}
	for _, a := range s.Actions {
		if err := w.check1(a); err != nil {
			return result, fmt.Errorf("%v: %w", a, err)
		}
	}
	defer func() {
		if p := recover(); p != nil {
			w.fail("panic", "%v\n%s", p, debug.Stack())
			result = w.check.result()
		}
	}()
	w.play(s)
	return w.check.result(), nil
}

func (w *World) play(s *Schedule) {
	for _, n := range w.nodes {
		w.after(time.Duration(w.rand.Int64N(int64(300*time.Millisecond))), func() {
			if n.life == nil {
				n.start()
				w.changed()
			}
		})
	}
	w.watchMembers()
	w.check.plan()
	for _, a := range s.Actions {
		w.after(a.At, func() { w.do(a) })
	}
	w.after(s.End, w.heal)
	w.run(s.End + settled)
	w.check.end()
}

// spins is how many events may share a moment.
const spins = 100_000

func (w *World) run(until time.Duration) {
	at, same := w.now, 0
	for w.check.violation == nil && w.next(until) {
		if same++; w.now != at {
			at, same = w.now, 0
		} else if same > spins {
			w.fail("form", "time stands still: something has itself called again at once")
		}
	}
}

func (w *World) fail(rule, format string, args ...any) {
	if w.check.violation == nil {
		w.check.violation = &Violation{rule, w.now, fmt.Sprintf(format, args...)}
		w.say("violation of %s", w.check.violation)
	}
}

func (w *World) say(format string, args ...any) {
	if w.story != nil {
		w.story(fmt.Sprintf("%7.2fs ", w.now.Seconds()) + fmt.Sprintf(format, args...))
	}
}

// tell tells of a change on a node.
func (w *World) tell(n *node, c policy.Change) {
	if w.story != nil {
		w.say("%s %s: %s → %s%s", n.id, c.Subject, c.Before, c.After, strings.TrimRight(" ("+c.Why, " (")+strings.Repeat(")", min(1, len(c.Why))))
	}
}

func (w *World) node(id string) *node {
	for _, n := range w.nodes {
		if string(n.id) == id {
			return n
		}
	}
	return nil
}

func (w *World) isSite(id string) bool {
	return slices.ContainsFunc(w.top.cfg.Sites, func(s policy.Site) bool { return string(s.ID) == id })
}

func sortedKeys[V any](m map[policy.EntryKey]V) []policy.EntryKey {
	return slices.SortedFunc(maps.Keys(m), func(a, b policy.EntryKey) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Key, b.Key))
	})
}
