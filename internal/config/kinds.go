package config

import (
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/scloudstack/pharos/probe"
)

// kinds are the ways of asking, one of which a check has.
func (r *reading) kinds(c *check) []key {
	return []key{
		optional("http", func(n *node) { c.HTTP = r.http(n) }),
		optional("tcp", func(n *node) { c.TCP = r.tcp(n) }),
		optional("icmp", func(n *node) { c.ICMP = r.icmp(n) }),
		optional("dns", func(n *node) { c.DNS = r.dnsCheck(n) }),
		optional("exec", func(n *node) { c.Exec = r.exec(n) }),
	}
}

func (r *reading) http(n *node) *probe.HTTP {
	h := new(probe.HTTP)
	var tls *probe.TLS
	r.object(n, "check.http",
		required("url", r.url(&h.URL)),
		optional("method", r.method(&h.Method)),
		optional("host", r.text(&h.Host)),
		optional("headers", func(v *node) { h.Headers = r.headers(v) }),
		optional("expect", r.statuses(&h.Expect)),
		optional("body", r.regexp(&h.Body)),
		optional("tls", func(v *node) { tls = r.tls(v) }),
		optional("follow_redirects", integer(r.decoder, &h.FollowRedirects, 0, 10)),
		optional("new_connection", r.boolean(&h.NewConnection)),
	)
	if tls != nil {
		h.TLS = *tls
		if h.URL != "" && !isHTTPS(h.URL) && h.FollowRedirects == 0 {
			r.errorf(n.get("tls"), "has no meaning for a URL that is not https")
		}
	}
	return h
}

func isHTTPS(url string) bool { return strings.HasPrefix(url, "https://") }

// method reads the method of a request without a body.
func (r *reading) method(dst *string) reader {
	var words []word[string]
	for _, m := range []string{"GET", "HEAD", "OPTIONS", "POST"} {
		words = append(words, word[string]{m, m})
	}
	return oneOf(r.decoder, dst, words...)
}

// url reads a template in which {address} stands for the target's address.
func (r *reading) url(dst *string) reader {
	return func(n *node) {
		var text string
		r.text(&text)(n)
		if text == "" {
			return
		}
		u, err := url.Parse(strings.ReplaceAll(text, "{address}", "192.0.2.1"))
		switch {
		case err != nil:
			r.expected(n, `a URL such as "https://{address}/healthz"`)
		case u.Scheme != "http" && u.Scheme != "https":
			r.expected(n, "a URL that begins with http:// or https://")
		case u.Hostname() == "":
			r.expected(n, `a URL with a host, such as "https://{address}/healthz"`)
		case strings.ContainsAny(u.Host, "{}") || strings.Contains(u.Path, "{"):
			r.errorf(n, "found %s, expected no other template than {address}", n.describe())
		case u.User != nil:
			r.errorf(n, "holds a user name: give it as a header")
		default:
			*dst = text
		}
	}
}

func (r *reading) headers(n *node) map[string]string {
	headers := make(map[string]string)
	if n.kind != mapping {
		r.expected(n, "a mapping of header names and values")
		return nil
	}
	token := regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")
	for _, f := range n.fields {
		if !token.MatchString(f.key) {
			r.errorf(f.value, "%q is no header name", short(f.key))
			continue
		}
		if strings.EqualFold(f.key, "Host") {
			r.errorf(f.value, "write it as host beside headers")
			continue
		}
		var value string
		r.text(&value)(f.value)
		if strings.ContainsAny(value, "\r\n") {
			r.errorf(f.value, "holds a line break")
			continue
		}
		headers[f.key] = value
	}
	return headers
}

// statuses reads 200, 200-299 or a list of them.
func (r *reading) statuses(dst *probe.Statuses) reader {
	return func(n *node) {
		r.each(n, "HTTP statuses such as 200 or 200-299", true, func(v *node) {
			if v.kind != scalar {
				r.expected(v, "an HTTP status such as 200 or 200-299")
				return
			}
			set, err := probe.ParseStatuses(v.text)
			if err != nil {
				r.errorf(v, "%v: expected one such as 200, or some such as 200-299", err)
				return
			}
			*dst = append(*dst, set...)
		})
	}
}

func (r *reading) regexp(dst *string) reader {
	return func(n *node) {
		r.text(dst)(n)
		if _, err := regexp.Compile(*dst); err != nil {
			r.errorf(n, "is no regular expression: %s", oneLine(strings.TrimPrefix(err.Error(), "error parsing regexp: ")))
		}
	}
}

// tls reads how the two sides of a connection prove themselves.
func (r *reading) tls(n *node) *probe.TLS {
	t := new(probe.TLS)
	r.object(n, "check.tls",
		optional("server_name", r.text(&t.ServerName)),
		optional("ca_file", r.file(&t.CAFile)),
		optional("cert_file", r.file(&t.CertFile)),
		optional("key_file", r.file(&t.KeyFile)),
		optional("skip_verify", r.boolean(&t.SkipVerify)),
	)
	r.pair(n, "cert_file", "key_file")
	if t.SkipVerify && n.has("ca_file") {
		r.errorf(n.get("ca_file"), "has no meaning with skip_verify: true")
	}
	return t
}

// pair reports one of two keys that need each other.
func (r *reading) pair(n *node, a, b string) {
	if n.has(a) && !n.has(b) {
		r.errorf(n.get(a), "needs %s beside it", b)
	}
	if n.has(b) && !n.has(a) {
		r.errorf(n.get(b), "needs %s beside it", a)
	}
}

// file reads a path; a relative one begins at the folder of the main file.
func (r *reading) file(dst *string) reader {
	return func(n *node) {
		var path string
		r.text(&path)(n)
		if path == "" {
			return
		}
		if !filepath.IsAbs(path) {
			path = filepath.Join(r.dir, path)
		}
		*dst = filepath.Clean(path)
	}
}

func (r *reading) tcp(n *node) *probe.TCP {
	t := new(probe.TCP)
	r.object(n, "check.tcp",
		required("port", integer(r.decoder, &t.Port, 1, 65535)),
		optional("tls", func(v *node) { t.TLS = r.tls(v) }),
		optional("send", r.text(&t.Send)),
		optional("expect", r.regexp(&t.Expect)),
	)
	return t
}

func (r *reading) icmp(n *node) *probe.ICMP {
	i := new(probe.ICMP)
	r.object(n, "check.icmp",
		optional("size", integer(r.decoder, &i.Size, 24, 1400)),
	)
	return i
}

func (r *reading) dnsCheck(n *node) *probe.DNS {
	c := new(probe.DNS)
	r.object(n, "check.dns",
		required("name", r.domain(&c.Name)),
		optional("type", r.upper(&c.Type, "record type", dns.StringToType)),
		optional("port", integer(r.decoder, &c.Port, 1, 65535)),
		optional("tcp", r.boolean(&c.TCP)),
		optional("rcode", func(v *node) { rcode(r, &c.Rcode, v) }),
		optional("answer", func(v *node) {
			r.each(v, "record data as in a zone file", true, func(v *node) {
				var s string
				r.text(&s)(v)
				c.Answer = append(c.Answer, s)
			})
		}),
	)
	return c
}

// upper reads a word of a table of the DNS protocol, in any case.
func (r *reading) upper(dst *string, what string, table map[string]uint16) reader {
	return func(n *node) {
		var s string
		r.text(&s)(n)
		if s == "" {
			return
		}
		s = strings.ToUpper(s)
		if _, ok := table[s]; !ok {
			words := make([]string, 0, len(table))
			for w := range table {
				words = append(words, w)
			}
			if w := nearest(s, slices.Sorted(slices.Values(words))); w != "" {
				r.errorf(n, "unknown %s %s: did you mean %s?", what, n.describe(), w)
				return
			}
			r.errorf(n, "unknown %s %s", what, n.describe())
			return
		}
		*dst = s
	}
}

func rcode(r *reading, dst *string, n *node) {
	table := make(map[string]uint16, len(dns.StringToRcode))
	for w, v := range dns.StringToRcode {
		table[w] = uint16(v)
	}
	r.upper(dst, "rcode", table)(n)
}

func (r *reading) exec(n *node) *probe.Exec {
	e := new(probe.Exec)
	r.object(n, "check.exec", required("argv", func(v *node) { e.Argv = r.argv(v) }))
	return e
}

// argv reads a program by its absolute path, and its arguments.
func (r *reading) argv(n *node) []string {
	var argv []string
	r.each(n, "a program and its arguments", false, func(v *node) {
		var s string
		if v.kind == scalar && v.text == "" {
			argv = append(argv, "")
			return
		}
		r.text(&s)(v)
		argv = append(argv, s)
	})
	if len(argv) > 0 && !filepath.IsAbs(argv[0]) {
		if len(n.items) > 0 {
			n = n.items[0]
		}
		r.errorf(n, "found %s, expected the absolute path of a program", n.describe())
	}
	return argv
}

// domain reads a domain name into its canonical form: lower case, final dot.
func (d *decoder) domain(dst *string) reader {
	return func(n *node) {
		var text string
		d.text(&text)(n)
		if text == "" {
			return
		}
		_, err := netip.ParseAddr(text)
		if why := badDomain(text); why != "" || err == nil {
			if why == "" {
				why = "it is an address"
			}
			d.errorf(n, "%s is no domain name: %s", n.describe(), why)
			return
		}
		*dst = dns.CanonicalName(text)
	}
}

// badDomain says what is wrong with a domain name.
func badDomain(s string) string {
	if strings.Contains(s, "://") {
		return "it is a URL"
	}
	for _, c := range s {
		switch {
		case c > '~':
			return "write an internationalised name in its xn-- form"
		case c <= ' ', strings.ContainsRune(`"();@$`, c):
			return "it holds " + quote(string(c))
		}
	}
	if s == "." {
		return ""
	}
	if strings.Contains(s, "..") || strings.HasPrefix(s, ".") {
		return "it has an empty label"
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(s, "."), ".") {
		if len(label) > 63 && !strings.Contains(label, `\`) {
			return "a label is longer than 63 octets"
		}
	}
	if _, ok := dns.IsDomainName(s); !ok {
		return "it is longer than 255 octets, or malformed"
	}
	return ""
}
