package simulation

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/scloudstack/pharos/cluster"
	"github.com/scloudstack/pharos/policy"
)

func (w *World) siteID(name string) policy.SiteID { return policy.SiteID(name) }

// parseOrder reads an order as schedules have it:
//
//	drain SITE [for DURATION] · undrain SITE
//	override site SITE|pin ADDRESS [for DURATION] · override clear
//	lost SITE... · readmit SITE · failover METRO · return SITE · rejoin
//
// with "break RULE" at the end to pass a rule.
func parseOrder(words []string) (o policy.Order, err error) {
	o = policy.Order{Author: "ann", Reason: "simulated"}
	for len(words) >= 3 {
		switch tail := words[len(words)-2:]; tail[0] {
		case "for":
			o.For, err = time.ParseDuration(tail[1])
		case "break":
			o.BreakGlass = append(o.BreakGlass, tail[1])
		default:
			return o, parseOrderWords(&o, words)
		}
		if err != nil {
			return o, err
		}
		words = words[:len(words)-2]
	}
	return o, parseOrderWords(&o, words)
}

func parseOrderWords(o *policy.Order, words []string) error {
	if words[0] != "rejoin" && len(words) < 2 {
		return fmt.Errorf("order %v: too few words", words)
	}
	switch words[0] {
	case "drain", "undrain":
		o.Kind, o.Key, o.Clear = policy.KindDrain, "site/"+words[1], words[0] == "undrain"
	case "override":
		o.Kind, o.Key = policy.KindOverride, "service/"+string(serviceID)
		return parseOverride(o, words[1:])
	case "lost":
		o.Kind = policy.KindSiteLost
		for _, s := range words[1:] {
			o.Sites = append(o.Sites, policy.SiteID(s))
		}
	case "readmit":
		o.Kind, o.Key, o.Clear = policy.KindSiteLost, words[1], true
	case "failover":
		o.Kind, o.Key, o.Metro = policy.KindActiveMetro, "service/"+string(serviceID), policy.MetroID(words[1])
	case "return":
		o.Kind, o.Key, o.ReturnTo = policy.KindReturn, string(serviceID), policy.SiteID(words[1])
	case "rejoin":
		o.Kind = policy.KindRejoin
	default:
		return fmt.Errorf("order %v: expected drain, undrain, override, lost, readmit, failover, return or rejoin", words)
	}
	return nil
}

func parseOverride(o *policy.Order, words []string) error {
	switch {
	case words[0] == "clear":
		o.Clear = true
	case words[0] == "site" && len(words) == 2:
		o.Override = &policy.Override{Site: policy.SiteID(words[1])}
	case words[0] == "pin" && len(words) == 2:
		a, err := netip.ParseAddr(words[1])
		if err != nil {
			return err
		}
		o.Override = &policy.Override{Addresses: []netip.Addr{a}}
	default:
		return fmt.Errorf("override %v: expected site SITE, pin ADDRESS or clear", words)
	}
	return nil
}

// doOrder gives a person's order: judged, on the disk, obeyed. See Node.Order of internal/node.
func (w *World) doOrder(a Action) {
	n := w.node(a.Args[0])
	if n.life == nil || n.stopped() {
		return
	}
	o, err := parseOrder(a.Args[1:])
	if err != nil {
		w.fail("form", "%v", err)
		return
	}
	preview, err := n.state.Judge(o, n.time())
	if err != nil {
		var refusal *policy.Refusal
		w.say("%s refuses: %v", n.id, err)
		if errors.As(err, &refusal) {
			w.check.count.Refused++
		}
		return
	}
	if w.void(preview.Entries) {
		w.say("%s would order what is void for others", n.id)
		return
	}
	sealed, err := n.replica.Seal(preview.Entries)
	if err != nil {
		w.fail("form", "%s can't seal an order: %v", n.id, err)
		return
	}
	n.step(policy.Promised(preview.Entries))
	w.check.given(n, preview.Entries)
	n.writer.store(sealed, func() { n.obey(sealed) })
}

// void says whether a node would not take in an order, since it is given in a site that it knows to be lost. Such orders are
// not played: setting a store aside at a readmission is internal/node's, and tested there.
func (w *World) void(entries []policy.Entry) bool {
	return slices.ContainsFunc(w.nodes, func(n *node) bool { return n.life != nil && slices.ContainsFunc(entries, n.state.Void) })
}

func (n *node) obey(sealed []*cluster.Sealed) {
	n.absorb(n.replica.Commit(sealed, n.time()))
	entries := make(policy.Ordered, len(sealed))
	for i, s := range sealed {
		entries[i] = s.Entry
	}
	n.step(entries)
	n.w.check.acked(n, entries)
}
