package config

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/scloudstack/pharos/policy"
	"github.com/scloudstack/pharos/probe"
)

// Thresholds of a check that names none.
const (
	defaultFall       = 3
	defaultRise       = 10
	longestOwnTimeout = 2 * time.Second // the default timeout is half the interval, and this at most
)

var kindNames = []string{"http", "tcp", "icmp", "dns", "exec"}

// check is a check as configured, before it is aimed at an address.
type check struct {
	probe.Check
	at                        *node
	interval, timeout, jitter time.Duration
	attempts, fall, rise      int
	judged                    bool // by probe, with the first address it is aimed at
}

// check reads a service's check. It returns nil where it can't be used.
func (r *reading) check(n *node) *check {
	c := newCheck(n)
	return r.readCheck(c, r.kinds(c))
}

func newCheck(n *node) *check {
	return &check{at: n, interval: probe.DefaultInterval, attempts: probe.DefaultAttempts, fall: defaultFall, rise: defaultRise}
}

// requirement reads a check that names its own address: {icmp: 192.0.2.1},
// {tcp: "192.0.2.1:443"}, or any check with an address beside it.
func (r *reading) requirement(n *node) (*check, netip.Addr) {
	var address, short netip.Addr
	c := newCheck(n)
	kinds := r.kinds(c)
	for i, full := range kinds {
		kinds[i].read = func(v *node) {
			switch {
			case v.kind == mapping:
				full.read(v)
			case full.name == "icmp":
				c.ICMP = &probe.ICMP{}
				r.address(&short)(v)
			case full.name == "tcp":
				var ap netip.AddrPort
				r.addrPort(&ap, 0)(v)
				c.TCP = &probe.TCP{Port: ap.Port()}
				short = ap.Addr()
			default:
				full.read(v)
			}
		}
	}
	kinds = append(kinds, optional("address", r.address(&address)))
	before := len(r.errors)
	c = r.readCheck(c, kinds)
	switch {
	case c == nil || len(r.errors) > before:
		return nil, address
	case short.IsValid() && n.has("address"):
		r.errorf(n.get("address"), "is given twice: the check names %s", short)
	case short.IsValid():
		return c, short
	case !address.IsValid():
		r.errorf(n, `"address" is missing: what is to be checked?`)
	}
	return c, address
}

// readCheck reads everything that checks have in common, and what is asked.
func (r *reading) readCheck(c *check, kinds []key) *check {
	var timeout, jitter time.Duration
	before := len(r.errors)
	keys := append(kinds,
		optional("interval", r.duration(&c.interval, 100*time.Millisecond, time.Hour)),
		optional("timeout", r.duration(&timeout, 10*time.Millisecond, time.Minute)),
		optional("jitter", r.jitter(&jitter, c)),
		optional("attempts", integer(r.decoder, &c.attempts, 1, probe.DefaultAttempts)),
		optional("fall", integer(r.decoder, &c.fall, 1, 100)),
		optional("rise", integer(r.decoder, &c.rise, 1, 1000)),
	)
	if !r.object(c.at, "check", keys...) {
		return nil
	}
	var given []string
	for _, k := range kindNames {
		if c.at.has(k) {
			given = append(given, k)
		}
	}
	names := make([]string, len(keys))
	for i, k := range keys {
		names[i] = k.name
	}
	switch {
	case len(given) == 0 && slices.ContainsFunc(kindNames, func(k string) bool { return misspelt(c.at, k, names) }):
	case len(given) == 0:
		r.errorf(c.at, "asks nothing: expected one of %s", anyOf(kindNames))
	case len(given) > 1:
		r.errorf(c.at, "found %s, expected exactly one of %s", andOf(given), anyOf(kindNames))
	}
	r.times(c, timeout, jitter)
	if c.Kind() == "" || len(given) != 1 || len(r.errors) > before {
		return nil
	}
	return c
}

// times fills in and judges the times of a check.
func (r *reading) times(c *check, timeout, jitter time.Duration) {
	c.timeout = cmp.Or(timeout, min(c.interval/2, longestOwnTimeout))
	c.jitter = jitter
	if !c.at.has("jitter") {
		c.jitter = max(0, min(c.interval/10, c.interval-c.timeout))
	}
	if timeout > c.interval {
		r.errorf(c.at.get("timeout"), "found %s, expected at most the interval (%s): checks of one target never overlap",
			since(timeout), since(c.interval))
		return
	}
	if v := c.at.get("jitter"); v != nil && c.jitter+c.timeout > c.interval {
		r.errorf(v, "found %s, expected at most %s: jitter and timeout (%s) must fit into the interval (%s)",
			v.describe(), since(c.interval-c.timeout), since(c.timeout), since(c.interval))
	}
	if need := secondAttempt(c); c.attempts > 1 && c.Exec == nil && c.timeout-c.timeout/3 < need {
		r.warnf(cmp.Or(c.at.get("timeout"), c.at),
			"%s leaves no room for a second attempt (which starts after a third of it, and may take %s to a far site): one lost packet fails the check",
			since(c.timeout), since(need))
	}
}

// secondAttempt is the time that a second attempt may need over a slow line:
// 50 ms a round trip, with TCP's and TLS's on top.
func secondAttempt(c *check) time.Duration {
	const roundTrip = 50 * time.Millisecond
	switch {
	case c.HTTP != nil && isHTTPS(c.HTTP.URL):
		return 3 * roundTrip
	case c.HTTP != nil, c.TCP != nil && c.TCP.TLS != nil:
		return 2 * roundTrip
	}
	return roundTrip
}

// jitter reads a duration, or a share of the interval.
func (r *reading) jitter(dst *time.Duration, c *check) reader {
	return func(n *node) {
		share, isShare := 0, false
		if n.kind == scalar && !n.quoted {
			_, err := fmt.Sscanf(n.text+"\n", "%d%%\n", &share)
			isShare = err == nil
		}
		if !isShare {
			r.duration(dst, 0, time.Hour)(n)
			return
		}
		if share < 0 || share > 100 {
			r.expected(n, "a share of the interval from 0% to 100%, or a duration")
			return
		}
		*dst = c.interval * time.Duration(share) / 100
	}
}

// target aims a check at an address and lists the target, once for all that
// ask the same.
func (r *reading) target(c *check, address netip.Addr, site policy.SiteID) policy.TargetID {
	t := probe.Target{
		Label: label(c, address), Address: address, Check: c.Check,
		Interval: c.interval, Timeout: c.timeout, Jitter: c.jitter, Attempts: c.attempts,
	}
	t.ID = t.Hash(c.fall, c.rise)
	if !c.judged {
		c.judged = true
		r.judgeTarget(c, t)
	}
	if _, known := r.s.Policy.Targets[t.ID]; !known {
		r.s.Policy.Targets[t.ID] = policy.Target{
			ID: t.ID, Site: site, Label: t.Label,
			Interval: c.interval, Timeout: c.timeout, Fall: c.fall, Rise: c.rise,
		}
		r.all = append(r.all, t)
	}
	return t.ID
}

// judgeTarget has probe look at the settings and the files that they name. Away
// from the nodes, a file that is missing is no fault.
func (r *reading) judgeTarget(c *check, t probe.Target) {
	if r.opt.FS != nil && namesFiles(c) {
		return // they are not the machine's
	}
	for _, p := range t.Problems() {
		at := c.at
		for word := range strings.SplitSeq(p.Key, ".") {
			if v := cmp.Or(at.get(word), at.get("tls").get(word)); v != nil {
				at = v
			}
		}
		isFile := strings.HasSuffix(p.Key, "_file") || strings.HasSuffix(p.Key, "argv")
		if isFile && r.opt.AnyNode {
			r.warnf(at, "%s", p.Text)
			r.s.Absent++
			continue
		}
		r.errorf(at, "%s", p.Text)
	}
}

func namesFiles(c *check) bool {
	return c.Exec != nil || c.HTTP != nil && c.HTTP.TLS != probe.TLS{} || c.TCP != nil && c.TCP.TLS != nil
}

// label names a target for people: "http 10.1.8.10", "tcp 10.1.8.10:443".
func label(c *check, address netip.Addr) string {
	if c.TCP != nil {
		return "tcp " + netip.AddrPortFrom(address, c.TCP.Port).String()
	}
	return c.Kind() + " " + address.String()
}
