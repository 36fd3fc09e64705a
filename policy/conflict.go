package policy

import (
	"bytes"
	"fmt"
	"time"
)

// conflictCause is how the causes of alarms begin that stay until a person acknowledges them.
const conflictCause = "conflict/"

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
	cause := conflictCause + string(won.Kind) + "/" + won.Key
	if told, ok := t.entries[EntryKey{KindAlarm, cause}]; ok && told.Stamp.Compare(won.Stamp) > 0 && told.Stamp.Compare(lost.Stamp) > 0 {
		return
	}
	t.wanted[cause] = alarm{
		cause, fmt.Sprintf("two orders on %s were given without knowledge of each other: %s stays, %s is lost; give it again if it is meant",
			subject(won.Kind, won.Key), orderText(won), orderText(lost)),
		fmt.Sprintf("pharos alarm ack %s", cause),
	}
	t.conflicts = append(t.conflicts, cause)
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
