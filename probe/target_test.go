package probe

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestHash(t *testing.T) {
	base := func() Target {
		return Target{
			Address: netip.MustParseAddr("192.0.2.1"), Interval: time.Second, Timeout: time.Second,
			Check: Check{HTTP: &HTTP{URL: "http://{address}/", Headers: map[string]string{"A": "1", "B": "2"}}},
		}
	}
	want := base().Hash(3, 10)
	if len(want) != 24 {
		t.Errorf("hash %q", want)
	}
	for name, change := range map[string]func(*Target){
		"id and label": func(t *Target) { t.ID, t.Label = "x", "y" },
		"defaults":     func(t *Target) { t.Attempts = DefaultAttempts },
		"mapped IPv4":  func(t *Target) { t.Address = netip.MustParseAddr("::ffff:192.0.2.1") },
	} {
		same := base()
		change(&same)
		if got := same.Hash(3, 10); got != want {
			t.Errorf("%s: another hash, expected the same", name)
		}
	}
	for name, change := range map[string]func(*Target){
		"address":  func(t *Target) { t.Address = netip.MustParseAddr("192.0.2.2") },
		"interval": func(t *Target) { t.Interval++ },
		"timeout":  func(t *Target) { t.Timeout++ },
		"jitter":   func(t *Target) { t.Jitter++ },
		"attempts": func(t *Target) { t.Attempts = 1 },
		"header":   func(t *Target) { t.Check.HTTP.Headers["B"] = "3" },
		"kind":     func(t *Target) { t.Check = Check{ICMP: &ICMP{}} },
	} {
		other := base()
		change(&other)
		if got := other.Hash(3, 10); got == want {
			t.Errorf("%s: the same hash, expected another", name)
		}
	}
	if base().Hash(3, 11) == want || base().Hash(4, 10) == want {
		t.Error("thresholds are no part of the hash")
	}
}

func TestProblems(t *testing.T) {
	files := newTestCA(t).write(t, t.TempDir(), "x.example")
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	httpCheck := func(h HTTP) Check {
		if h.URL == "" {
			h.URL = "https://{address}/"
		}
		return Check{HTTP: &h}
	}
	for _, tc := range []struct {
		name  string
		check Check
		want  []string // the beginning of each problem
	}{
		{"nothing", Check{}, []string{": a check is exactly one of http, tcp, icmp, dns and exec; found 0"}},
		{"two", Check{TCP: &TCP{Port: 1}, ICMP: &ICMP{}}, []string{": a check is exactly one of http, tcp, icmp, dns and exec; found 2"}},
		{"good http", httpCheck(HTTP{TLS: TLS{CAFile: files.ca, CertFile: files.cert, KeyFile: files.key}, Body: "x+", Headers: map[string]string{"X-A": "b"}}), nil},
		{"scheme", httpCheck(HTTP{URL: "ftp://{address}/"}), []string{`http.url: "ftp://{address}/": expected an http or https URL`}},
		{"no host", httpCheck(HTTP{URL: "http:///x"}), []string{`http.url: "http:///x": no host`}},
		{"port", httpCheck(HTTP{URL: "http://{address}:99999/"}), []string{`http.url: "http://{address}:99999/": bad port`}},
		{"space", httpCheck(HTTP{URL: "http://{address}/?a b"}), []string{`http.url: "http://{address}/?a b": a space`}},
		{"password", httpCheck(HTTP{URL: "https://u:p@{address}/"}), []string{"http.url: a user and password belong into headers"}},
		{"method", httpCheck(HTTP{Method: "GET /"}), []string{`http.method: "GET /" is no HTTP method`}},
		{"host", httpCheck(HTTP{Host: "a\r\nb"}), []string{`http.host: "a\r\nb" is no host name`}},
		{"header", httpCheck(HTTP{Headers: map[string]string{"A": "b\r\nC: d"}}), []string{`http.headers: "A": "b\r\nC: d" is no HTTP header`}},
		{"own header", httpCheck(HTTP{Headers: map[string]string{"Connection": "close"}}), []string{`http.headers: "Connection" is set by the probe itself`}},
		{"body", httpCheck(HTTP{Body: "("}), []string{"http.body: error parsing regexp"}},
		{"redirects", httpCheck(HTTP{FollowRedirects: 11}), []string{"http.follow_redirects: found 11, expected 0 to 10"}},
		{"TLS without TLS", httpCheck(HTTP{URL: "http://{address}/", TLS: TLS{SkipVerify: true}}), []string{"http.tls: TLS settings on an http URL"}},
		{"CA file missing", httpCheck(HTTP{TLS: TLS{CAFile: empty + "x"}}), []string{"http.ca_file: open "}},
		{"CA file empty", httpCheck(HTTP{TLS: TLS{CAFile: empty}}), []string{"http.ca_file: " + empty + ": no certificate in it"}},
		{"CA file a FIFO", httpCheck(HTTP{TLS: TLS{CAFile: fifo}}), []string{"http.ca_file: " + fifo + ": expected a regular file"}},
		{"CA file without end", httpCheck(HTTP{TLS: TLS{CAFile: "/dev/zero"}}), []string{"http.ca_file: /dev/zero: expected a regular file"}},
		{"client certificate a FIFO", httpCheck(HTTP{TLS: TLS{CertFile: fifo, KeyFile: files.key}}), []string{"http.cert_file: " + fifo + ": expected a regular file"}},
		{"client key a FIFO", httpCheck(HTTP{TLS: TLS{CertFile: files.cert, KeyFile: fifo}}), []string{"http.cert_file: " + fifo + ": expected a regular file"}},
		{"half a client certificate", httpCheck(HTTP{TLS: TLS{CertFile: files.cert}}), []string{"http.cert_file: cert_file and key_file belong together"}},
		{"no key in the key file", httpCheck(HTTP{TLS: TLS{CertFile: files.cert, KeyFile: files.cert}}), []string{"http.cert_file: tls: "}},
		{"CA and no verification", httpCheck(HTTP{TLS: TLS{CAFile: files.ca, SkipVerify: true}}), []string{"http.skip_verify: "}},
		{"good tcp", Check{TCP: &TCP{Port: 443, TLS: &TLS{}}}, nil},
		{"no port", Check{TCP: &TCP{}}, []string{"tcp.port: no port"}},
		{"expect", Check{TCP: &TCP{Port: 1, Expect: "["}}, []string{"tcp.expect: error parsing regexp"}},
		{"good icmp", Check{ICMP: &ICMP{Size: 100}}, nil},
		{"size", Check{ICMP: &ICMP{Size: 9000}}, []string{"icmp.size: found 9000, expected 24 to 1400"}},
		{"good dns", Check{DNS: &DNS{Name: "shop.example.", Type: "mx", Rcode: "noerror", Answer: []string{"10 mail.shop.example."}}}, nil},
		{"dns", Check{DNS: &DNS{Name: "a..b", Type: "AAAAA", Rcode: "FINE"}}, []string{"dns.name: ", "dns.type: ", "dns.rcode: "}},
		{"answer", Check{DNS: &DNS{Name: "a.", Type: "A", Answer: []string{"one"}}}, []string{`dns.answer: "one" is no rdata of type A`}},
		{"good exec", Check{Exec: &Exec{Argv: []string{"/bin/sh", "-c", "x"}}}, nil},
		{"no program", Check{Exec: &Exec{}}, []string{"exec.argv: no program to run"}},
		{"relative", Check{Exec: &Exec{Argv: []string{"sh"}}}, []string{`exec.argv: "sh" is no absolute path`}},
		{"absent", Check{Exec: &Exec{Argv: []string{"/nowhere"}}}, []string{"exec.argv: stat /nowhere"}},
		{"not executable", Check{Exec: &Exec{Argv: []string{files.ca}}}, []string{"exec.argv: "}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			found := Target{Address: netip.MustParseAddr("192.0.2.1"), Check: tc.check}.Problems()
			var got []string
			for i, p := range found {
				got = append(got, p.Error())
				if i < len(tc.want) && strings.HasPrefix(p.Error(), tc.want[i]) {
					got[i] = tc.want[i]
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
	if got := (Target{Check: Check{ICMP: &ICMP{}}, Timeout: -1}).Problems(); len(got) != 2 {
		t.Errorf("no address and a negative timeout: %v", got)
	}
}

func TestStatuses(t *testing.T) {
	for text, want := range map[string]Statuses{
		"200":           {{200, 200}},
		"200-299, 301 ": {{200, 299}, {301, 301}},
		"200-204,401":   {{200, 204}, {401, 401}},
	} {
		got, err := ParseStatuses(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
		if again, err := ParseStatuses(got.String()); err != nil || !cmp.Equal(again, got) {
			t.Errorf("%q does not survive String: %v, %v", text, again, err)
		}
	}
	for _, text := range []string{"", "20", "2xx", "299-200", "200,", "1000", "099", "-200", "+20"} {
		if got, err := ParseStatuses(text); err == nil {
			t.Errorf("%q is taken as %v", text, got)
		}
	}
	if !(Statuses{}).Has(204) || (Statuses{}).Has(301) || !(Statuses{{301, 302}}).Has(302) || (Statuses{{301, 302}}).Has(200) {
		t.Error("Has")
	}
}

func TestDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		350 * time.Microsecond:  "350 µs",
		3456 * time.Microsecond: "3.5 ms",
		12 * time.Millisecond:   "12 ms",
		500 * time.Millisecond:  "500 ms",
		12 * time.Second:        "12 s",
	} {
		if got := duration(d); got != want {
			t.Errorf("%v is %q, expected %q", d, got, want)
		}
	}
}
