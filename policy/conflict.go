package policy

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"
)

// conflictCause is how the causes of alarms begin that stay until a person acknowledges them.
const conflictCause = "conflict/"

// maxConflict is how long the text of a conflict may be and have more added. The rest is told once it was acknowledged.
const maxConflict = 4 << 10

// loss is an order that gave way to one given without knowledge of it, both in words.
type loss struct{ won, lost string }

func (l loss) String() string { return l.won + " stays, " + l.lost + " is lost" }

// toldBy says that the text of an alarm has the order that was lost, to whichever it was.
func (l loss) toldBy(text string) bool { return strings.Contains(text, l.lost+" is lost") }

// meet looks at two entries of one key of which won stays. Where both are orders of persons and the
// one was given without knowledge of the other, people are told what was lost.
func (t *turn) meet(won, lost Entry) {
	switch won.Kind {
	case KindOverride, KindDrain, KindActiveMetro, KindSiteLost, KindReturn, KindGate:
	default:
		return
	}
	if won.Stamp.Node == lost.Stamp.Node || won.Over.Compare(lost.Stamp) >= 0 || won.Ends == lost.Stamp || won.Author == machine || lost.Author == machine {
		return
	}
	if won.Deleted == lost.Deleted && bytes.Equal(won.Value, lost.Value) && won.Expires.Equal(lost.Expires) {
		return // they say the same
	}
	cause, l := conflictCause+string(won.Kind)+"/"+won.Key, loss{orderText(won), orderText(lost)}
	told, _ := decode[Alarm](t.entries[EntryKey{KindAlarm, cause}]) // also one that was acknowledged
	if l.toldBy(told.Text) || slices.ContainsFunc(t.lost[cause], func(m loss) bool { return m.lost == l.lost }) {
		return
	}
	t.lost[cause] = append(slices.Clip(t.lost[cause]), l)
	t.conflicts = append(t.conflicts, cause)
}

// wantConflict wants the alarm of a conflict to tell of the losses met here, beside what it tells already: nodes
// that met different ones agree on all of them. It starts anew once it was acknowledged and cleared.
func (t *turn) wantConflict(cause string) {
	delete(t.wanted, cause)
	r := t.raised[cause]
	if _, acked := t.acked(cause); acked {
		t.forgetLosses(cause, r.Text)
		return
	}
	text := r.Text
	for _, l := range t.lost[cause] {
		switch {
		case l.toldBy(text), len(text) > maxConflict:
		case text == "":
			kind, key, _ := strings.Cut(strings.TrimPrefix(cause, conflictCause), "/")
			text = fmt.Sprintf("two orders on %s were given without knowledge of each other: %s; give it again if it is meant",
				subject(Kind(kind), key), l)
		default:
			text += "; also " + l.String()
		}
	}
	if text != r.Text {
		t.wanted[cause] = alarm{cause, text, "pharos alarm ack " + cause}
	}
}

// forgetLosses forgets those that a text told people of who have acknowledged it.
func (t *turn) forgetLosses(cause, text string) {
	t.lost[cause] = slices.DeleteFunc(slices.Clone(t.lost[cause]), func(l loss) bool { return l.toldBy(text) })
	if len(t.lost[cause]) == 0 {
		delete(t.lost, cause)
	}
}

// orderText is an order in words, for people who have to find whose it was.
func orderText(e Entry) string {
	what := "the setting"
	switch v, _ := decode[Override](e); {
	case e.Deleted:
		what = "the clearing"
	case e.Kind == KindOverride && v.Site != "":
		what = "site " + string(v.Site)
	case e.Kind == KindOverride:
		what = fmt.Sprintf("addresses %v", v.Addresses)
	case e.Kind == KindActiveMetro:
		m, _ := decode[ActiveMetro](e)
		what = "metro " + string(m.Metro)
	case e.Kind == KindReturn:
		r, _ := decode[ReturnOrder](e)
		what = "return to " + string(r.To)
	case e.Kind == KindGate:
		g, _ := decode[Gate](e)
		what = map[bool]string{true: "open", false: "closed"}[g.Open]
	}
	if !e.Expires.IsZero() {
		what += " until " + e.Expires.UTC().Format(time.DateTime)
	}
	return fmt.Sprintf("%s by %s on %s at %s (%s)", what, e.Author, e.Stamp.Node, e.Stamp.Time().Format(time.DateTime), e.Reason)
}
