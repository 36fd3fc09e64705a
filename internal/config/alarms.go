package config

import (
	"strings"
	"time"
)

const (
	defaultHeartbeat = 30 * time.Second
	defaultAuditKeep = 400 * 24 * time.Hour
	defaultAuditMost = 100_000
)

// Alarms is where alarms go beside status: one node of the cluster sends each.
type Alarms struct {
	Webhook        string   // a URL that is sent JSON; empty: none
	Exec           []string // a program and its arguments, the alarm as JSON on its input
	Syslog         string   // "local", or address:port of UDP
	Heartbeat      string   // a URL that is asked every HeartbeatEvery while all is well
	HeartbeatEvery time.Duration
}

// Audit bounds what is kept of who did what.
type Audit struct {
	Keep   time.Duration
	Most   int    // records of each node
	Syslog string // as Alarms.Syslog
}

func (r *reading) alarms(n *node) {
	a := &r.s.Alarms
	r.object(n, "alarms",
		optional("webhook", r.plainURL(&a.Webhook)),
		optional("exec", func(v *node) { a.Exec = r.argv(v) }),
		optional("syslog", r.syslog(&a.Syslog)),
		optional("heartbeat", r.plainURL(&a.Heartbeat)),
		optional("heartbeat_every", r.duration(&a.HeartbeatEvery, time.Second, time.Hour)),
	)
	if v := n.get("heartbeat_every"); v != nil && !n.has("heartbeat") {
		r.errorf(v, "has no meaning without heartbeat")
	}
}

func (r *reading) audit(n *node) {
	a := &r.s.Audit
	r.object(n, "audit",
		optional("keep", r.duration(&a.Keep, time.Hour, 3650*24*time.Hour)),
		optional("most", integer(r.decoder, &a.Most, 100, 10_000_000)),
		optional("syslog", r.syslog(&a.Syslog)),
	)
}

// plainURL reads a URL without a template.
func (r *reading) plainURL(dst *string) reader {
	return func(n *node) {
		if strings.Contains(n.text, "{") {
			r.expected(n, "a URL without a template")
			return
		}
		r.url(dst)(n)
	}
}

// syslog reads where RFC 5424 messages go.
func (r *reading) syslog(dst *string) reader {
	return func(n *node) {
		if n.kind == scalar && n.text == "local" {
			*dst = n.text
			return
		}
		if n.kind != scalar || !isAddrPort(n.text) {
			r.expected(n, `local, or an address and UDP port such as 192.0.2.9:514`)
			return
		}
		*dst = n.text
	}
}
