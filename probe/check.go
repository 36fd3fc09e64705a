package probe

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/miekg/dns"
)

// Problem is a setting that can't be used.
type Problem struct {
	Key  string // as in the configuration, below the check: "http.url", "tcp.port", "timeout"
	Text string // what was found and what was expected
}

func (p Problem) Error() string { return p.Key + ": " + p.Text }

// Problems returns what is wrong with the target's settings, files that can't
// be read included. None: the target can be probed.
func (t Target) Problems() []Problem {
	found := t.problems()
	add := func(key, format string, args ...any) {
		found = append(found, Problem{key, fmt.Sprintf(format, args...)})
	}
	switch c := t.Check; {
	case c.HTTP != nil:
		c.HTTP.TLS.unreadable("http.", add)
	case c.TCP != nil && c.TCP.TLS != nil:
		c.TCP.TLS.unreadable("tcp.tls.", add)
	case c.Exec != nil:
		c.Exec.unreadable(add)
	}
	return found
}

// problems looks at the settings alone.
func (t Target) problems() []Problem {
	var found []Problem
	add := func(key, format string, args ...any) {
		found = append(found, Problem{key, fmt.Sprintf(format, args...)})
	}
	if !t.Address.IsValid() {
		add("address", "no address to probe")
	}
	if t.Interval < 0 || t.Timeout < 0 || t.Jitter < 0 || t.Attempts < 0 {
		add("interval", "interval, timeout, jitter and attempts can't be negative")
	}
	set := 0
	for _, is := range []bool{t.Check.HTTP != nil, t.Check.TCP != nil, t.Check.ICMP != nil, t.Check.DNS != nil, t.Check.Exec != nil} {
		if is {
			set++
		}
	}
	if set != 1 {
		add("", "a check is exactly one of http, tcp, icmp, dns and exec; found %d", set)
		return found
	}
	c := t.Check
	switch {
	case c.HTTP != nil:
		c.HTTP.problems(t, add)
	case c.TCP != nil:
		c.TCP.problems(add)
	case c.ICMP != nil:
		if s := c.ICMP.Size; s != 0 && (s < minPayload || s > maxPayload) {
			add("icmp.size", "found %d, expected %d to %d octets", s, minPayload, maxPayload)
		}
	case c.DNS != nil:
		c.DNS.problems(add)
	case c.Exec != nil:
		c.Exec.problems(add)
	}
	return found
}

func (h *HTTP) problems(t Target, add func(key, format string, args ...any)) {
	u, err := h.target(t.Address)
	switch {
	case err != nil:
		add("http.url", "%v", err)
	case u.User != nil:
		add("http.url", "a user and password belong into headers (Authorization)")
	case u.Scheme == "http" && h.TLS != TLS{} && h.FollowRedirects == 0:
		add("http.tls", "TLS settings on an http URL, expected https")
	}
	if h.Method != "" && !isToken(h.Method) {
		add("http.method", "%q is no HTTP method", h.Method)
	}
	if strings.ContainsAny(h.Host, " \t\r\n/") {
		add("http.host", "%q is no host name", h.Host)
	}
	for name, value := range h.Headers {
		if !isToken(name) || strings.ContainsAny(value, "\r\n\x00") {
			add("http.headers", "%q: %q is no HTTP header", name, value)
		}
		switch strings.ToLower(name) {
		case "host", "connection", "content-length", "transfer-encoding":
			add("http.headers", "%q is set by the probe itself", name)
		}
	}
	if _, err := regexp.Compile(h.Body); err != nil {
		add("http.body", "%v", err)
	}
	if h.FollowRedirects < 0 || h.FollowRedirects > maxRedirects {
		add("http.follow_redirects", "found %d, expected 0 to %d", h.FollowRedirects, maxRedirects)
	}
	h.TLS.problems("http.", add)
}

func (c *TCP) problems(add func(key, format string, args ...any)) {
	if c.Port == 0 {
		add("tcp.port", "no port, expected 1 to 65535")
	}
	if _, err := regexp.Compile(c.Expect); err != nil {
		add("tcp.expect", "%v", err)
	}
	if c.TLS != nil {
		c.TLS.problems("tcp.tls.", add)
	}
}

func (t TLS) problems(prefix string, add func(key, format string, args ...any)) {
	if (t.CertFile == "") != (t.KeyFile == "") {
		add(prefix+"cert_file", "cert_file and key_file belong together")
	}
	if t.SkipVerify && t.CAFile != "" {
		add(prefix+"skip_verify", "skip_verify makes ca_file useless: one or the other")
	}
}

func (t TLS) unreadable(prefix string, add func(key, format string, args ...any)) {
	if _, err := loadPool(t.CAFile); err != nil {
		add(prefix+"ca_file", "%v", err)
	}
	if t.CertFile != "" && t.KeyFile != "" {
		if _, err := loadPair(t.CertFile, t.KeyFile); err != nil {
			add(prefix+"cert_file", "%v", err)
		}
	}
}

func (d *DNS) problems(add func(key, format string, args ...any)) {
	if _, ok := dns.IsDomainName(d.Name); !ok || d.Name == "" {
		add("dns.name", "%q is no domain name", d.Name)
	}
	if d.Type != "" && dns.StringToType[strings.ToUpper(d.Type)] == 0 {
		add("dns.type", "%q is no type of record", d.Type)
	}
	if _, ok := dns.StringToRcode[strings.ToUpper(d.Rcode)]; d.Rcode != "" && !ok {
		add("dns.rcode", "%q is no response code (NOERROR, NXDOMAIN, REFUSED, ...)", d.Rcode)
	}
	if _, err := d.answers(); err != nil {
		add("dns.answer", "%v", err)
	}
}

func (e *Exec) problems(add func(key, format string, args ...any)) {
	if len(e.Argv) == 0 || e.Argv[0] == "" {
		add("exec.argv", "no program to run")
		return
	}
	if !filepath.IsAbs(e.Argv[0]) {
		add("exec.argv", "%q is no absolute path", e.Argv[0])
	}
}

func (e *Exec) unreadable(add func(key, format string, args ...any)) {
	if len(e.Argv) == 0 || !filepath.IsAbs(e.Argv[0]) {
		return
	}
	info, err := os.Stat(e.Argv[0])
	switch {
	case err != nil:
		add("exec.argv", "%v", err)
	case info.IsDir() || info.Mode()&0o111 == 0:
		add("exec.argv", "%q is not executable", e.Argv[0])
	}
}

// isToken says whether s is a token of RFC 9110 §5.6.2.
func isToken(s string) bool {
	for _, r := range s {
		alnum := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
		if !alnum && !strings.ContainsRune("!#$%&'*+-.^_`|~", r) {
			return false
		}
	}
	return s != ""
}
