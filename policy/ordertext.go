package policy

import (
	"strings"
	"time"
)

// OrderText is an order, which may be of several entries, in the words of the command that gives it: "site lost
// city-a, city-b", "override set www.shop.example. site remote ttl 30s".
func OrderText(list []Entry) string {
	if len(list) == 0 {
		return ""
	}
	e := list[0]
	keys := make([]string, len(list))
	for i := range list {
		keys[i] = list[i].Key
	}
	text := verb(e) + " " + orderKey(e.Kind, strings.Join(keys, ", "))
	switch e.Kind {
	case KindOverride:
		if v, ok := decode[Override](e); ok && !e.Deleted {
			text += v.words()
		}
	case KindActiveMetro:
		m, _ := decode[ActiveMetro](e)
		text += " to " + string(m.Metro)
	case KindReturn:
		if r, ok := decode[ReturnOrder](e); ok && r.To != "" {
			text += " to " + string(r.To)
		}
	case KindRejoin:
		text += " alone"
	}
	if !e.Expires.IsZero() && !e.Deleted {
		text += " for " + length(e.Expires.Sub(e.Stamp.Time()).Round(time.Second))
	}
	return text
}

// verb is the command that gives an order.
func verb(e Entry) string {
	if e.Kind == KindGate {
		if g, _ := decode[Gate](e); g.Open {
			return "gate open"
		}
		return "gate close"
	}
	words, ok := verbs[e.Kind]
	switch {
	case !ok:
		return string(e.Kind)
	case e.Deleted:
		return words[1]
	}
	return words[0]
}

// verbs are the commands that give an order of a kind, and that end it.
var verbs = map[Kind][2]string{
	KindOverride:    {"override set", "override clear"},
	KindDrain:       {"drain", "undrain"},
	KindSiteLost:    {"site lost", "site readmit"},
	KindActiveMetro: {"failover", "failover"},
	KindReturn:      {"return", "return"},
	KindAck:         {"alarm ack", "alarm ack --clear"},
	KindRejoin:      {"cluster rejoin", "cluster rejoin"},
	KindBlock:       {"cluster block", "cluster unblock"},
	KindGossipKeys:  {"cluster keys", "cluster keys"},
}

// orderKey is what an order is about, as its command has it.
func orderKey(kind Kind, key string) string {
	switch kind {
	case KindOverride, KindGossipKeys:
		scope, rest, _ := strings.Cut(key, "/")
		if scope == "name" {
			return rest
		}
		return strings.TrimSpace(scope + " " + rest)
	}
	return key
}

// words are what an override sets, each with a space before it.
func (v Override) words() string {
	var b strings.Builder
	if v.Site != "" {
		b.WriteString(" site " + string(v.Site))
	}
	for _, a := range v.Addresses {
		b.WriteString(" " + a.String())
	}
	if v.TTL > 0 {
		b.WriteString(" ttl " + length(v.TTL))
	}
	if v.KeepOther {
		b.WriteString(" keep-other")
	}
	if v.Unlisted {
		b.WriteString(" unlisted")
	}
	return b.String()
}

// subject is what orders of one key are about.
func subject(kind Kind, key string) string {
	switch kind {
	case KindSiteLost:
		return "the loss of site " + key
	case KindActiveMetro:
		return "the active metro of " + key
	}
	return string(kind) + " " + key
}
