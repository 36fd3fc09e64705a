package probe

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/scloudstack/pharos/policy"
)

func httpTarget(port uint16, h HTTP) Target {
	if h.URL == "" {
		h.URL = "http://{address}/"
	}
	h.URL = strings.Replace(h.URL, "{address}", fmt.Sprintf("{address}:%d", port), 1)
	return Target{Check: Check{HTTP: &h}, Interval: 150 * time.Millisecond, Timeout: 6 * time.Second}
}

// site is an HTTP server with something wrong on each page.
func site(t *testing.T) uint16 {
	mux := http.NewServeMux()
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "all is well\n") })
	mux.HandleFunc("/status/{code}", func(w http.ResponseWriter, r *http.Request) {
		code, _ := strconv.Atoi(r.PathValue("code"))
		w.WriteHeader(code)
	})
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s %s X=%s UA=%s", r.Method, r.Host, r.URL.RawQuery, r.Header.Get("X-Test"), r.UserAgent())
	})
	mux.HandleFunc("/silent", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	mux.HandleFunc("/huge", func(w http.ResponseWriter, r *http.Request) {
		for range 1000 {
			_, _ = w.Write(make([]byte, 100_000))
		}
	})
	mux.HandleFunc("/stalls", func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte("beginning"))
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	mux.HandleFunc("/hints", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		fmt.Fprint(w, "done")
	})
	mux.HandleFunc("/loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/loop", http.StatusFound) })
	mux.HandleFunc("/moved", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/echo?moved", http.StatusMovedPermanently)
	})
	mux.HandleFunc("/moved-to-nowhere", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "gopher://x/")
		w.WriteHeader(http.StatusFound)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	u, _ := url.Parse(server.URL)
	return port(u)
}

func TestHTTP(t *testing.T) {
	good := site(t)
	for _, tc := range []struct {
		name   string
		http   HTTP
		expect expectation
	}{
		{"200", HTTP{}, expectation{policy.Success, `200 from 127\.0\.0\.1:\d+ after [\d.]+ (µs|ms)`}},
		{"503", HTTP{URL: "http://{address}/status/503"}, expectation{policy.Refused, `503 from 127\.0\.0\.1:\d+ after .*`}},
		{"204 by default", HTTP{URL: "http://{address}/status/204"}, expectation{policy.Success, `204 from .*`}},
		{"401 expected", HTTP{URL: "http://{address}/status/401", Expect: Statuses{{200, 299}, {401, 401}}}, expectation{policy.Success, `401 from .*`}},
		{"200 not expected", HTTP{Expect: Statuses{{401, 401}}}, expectation{policy.Refused, `200 from .*`}},
		{"body", HTTP{Body: "is w[a-z]+l"}, expectation{policy.Success, `200 from .*`}},
		{"another body", HTTP{Body: "maintenance"}, expectation{policy.Refused, `200 from .* after .*: body does not match, got "all is well\\n"`}},
		{
			"request",
			HTTP{
				URL: "http://{address}/echo?a=b%20c", Method: "POST", Host: "www.shop.example", Headers: map[string]string{"X-Test": "1"},
				Body: `^POST www\.shop\.example a=b%20c X=1 UA=pharos$`,
			},
			expectation{policy.Success, `200 from .*`},
		},
		{"HEAD", HTTP{URL: "http://{address}/echo", Method: "HEAD"}, expectation{policy.Success, `200 from .*`}},
		{"silence", HTTP{URL: "http://{address}/silent"}, expectation{policy.Timeout, `no answer from .* within 300 ms \(3 attempts\)`}},
		{"huge body not read", HTTP{URL: "http://{address}/huge"}, expectation{policy.Success, `200 from .*`}},
		{"huge body bounded", HTTP{URL: "http://{address}/huge", Body: "x"}, expectation{policy.Refused, `200 from .*: body does not match, got "\\x00.*"\.\.\.`}},
		{"stalled body not awaited", HTTP{URL: "http://{address}/stalls"}, expectation{policy.Success, `200 from .*`}},
		{"stalled body", HTTP{URL: "http://{address}/stalls", Body: "beginning"}, expectation{policy.Timeout, `no answer from .*`}},
		{"early hints", HTTP{URL: "http://{address}/hints", Body: "^done$"}, expectation{policy.Success, `200 from .*`}},
		{"redirect not followed", HTTP{URL: "http://{address}/moved"}, expectation{policy.Refused, `301 from .*`}},
		{"redirect expected", HTTP{URL: "http://{address}/moved", Expect: Statuses{{301, 302}}}, expectation{policy.Success, `301 from .*`}},
		{
			"redirect followed",
			HTTP{URL: "http://{address}/moved", Host: "www.shop.example", FollowRedirects: 2, Body: `^GET www\.shop\.example moved`},
			expectation{policy.Success, `200 from .*`},
		},
		{"redirect loop", HTTP{URL: "http://{address}/loop", FollowRedirects: 4}, expectation{policy.Refused, `more than 4 redirects from .*`}},
		{"redirect to nowhere", HTTP{URL: "http://{address}/moved-to-nowhere", FollowRedirects: 1}, expectation{policy.Refused, `malformed answer from .*: redirect to "gopher://x/"`}},
		{"a name is not resolved", HTTP{URL: "http://www.shop.example:PORT/echo", Body: `^GET www\.shop\.example:\d+ `}, expectation{policy.Success, `200 from 127\.0\.0\.1:\d+ .*`}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.http.URL = strings.Replace(tc.http.URL, "PORT", strconv.Itoa(int(good)), 1)
			tc.expect.check(t, once(t, tc.expect.in(httpTarget(good, tc.http))))
		})
	}
}

func TestHTTPBadServers(t *testing.T) {
	says := func(text string, then func(net.Conn)) func(net.Conn) {
		return func(c net.Conn) {
			_, _ = c.Read(make([]byte, 4096))
			_, _ = io.WriteString(c, text)
			then(c)
		}
	}
	for _, tc := range []struct {
		name   string
		handle func(net.Conn)
		body   string
		expect expectation
	}{
		{"silent", hold, "", expectation{policy.Timeout, `no answer from .* within 300 ms \(3 attempts\)`}},
		{"closes", says("", func(net.Conn) {}), "", expectation{policy.Refused, `connection closed by .*`}},
		{"resets", reset, "", expectation{policy.Refused, `connection reset by .*`}},
		{"closes in the header", says("HTTP/1.1 200 OK\r\nServer: x", func(net.Conn) {}), "", expectation{policy.Refused, `connection closed by .*`}},
		{"closes in the status line", says("HTTP/1.1 200", func(net.Conn) {}), "", expectation{policy.Refused, `connection closed by .*`}},
		{"closes in the body", says("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", func(net.Conn) {}), "abc", expectation{policy.Refused, `connection closed by .*`}},
		{"no HTTP", says("SSH-2.0-OpenSSH_9\r\n", hold), "", expectation{policy.Refused, `malformed answer from .*: malformed HTTP response "SSH-2\.0-OpenSSH_9"`}},
		{"HTTP/1.0 to the end", says("HTTP/1.0 200 OK\r\n\r\nhello", func(net.Conn) {}), "^hello$", expectation{policy.Success, `200 from .*`}},
		{"chunked", says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", hold), "^abcde$", expectation{policy.Success, `200 from .*`}},
		{"broken chunks", says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", hold), "abc", expectation{policy.Refused, `malformed answer from .*: invalid byte in chunk length`}},
		{"two lengths", says("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", hold), "", expectation{policy.Refused, `malformed answer from .*`}},
		{"switches protocols", says("HTTP/1.1 101 Switching Protocols\r\n\r\n", hold), "", expectation{policy.Refused, `malformed answer from .*: status 101`}},
		{"header without end", func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n")
			for {
				if _, err := io.WriteString(c, "X: "+strings.Repeat("x", 1000)+"\r\n"); err != nil {
					return
				}
			}
		}, "", expectation{policy.Refused, `malformed answer from .*: header of more than 32768 octets`}},
		{"interim answers without end", func(c net.Conn) {
			for {
				if _, err := io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n"); err != nil {
					return
				}
			}
		}, "", expectation{policy.Refused, `malformed answer from .*: status 100`}},
		{"drips", func(c net.Conn) {
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for _, octet := range []byte("HTTP/1.1 200 OK\r\nServer: one octet at a time\r\n\r\n") {
				<-tick.C
				if _, err := c.Write([]byte{octet}); err != nil {
					return
				}
			}
		}, "", expectation{policy.Timeout, `no answer from .*`}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			target := httpTarget(listen(t, "tcp4", "127.0.0.1:0", tc.handle), HTTP{Body: tc.body})
			tc.expect.check(t, once(t, tc.expect.in(target)))
		})
	}
	t.Run("refused", func(t *testing.T) {
		expectation{policy.Refused, `connection refused by 127\.0\.0\.1:\d+ after .*`}.check(t, once(t, httpTarget(closedPort(t), HTTP{})))
	})
	t.Run("black hole", func(t *testing.T) {
		e := expectation{policy.Timeout, `no answer from .* within 300 ms \(3 attempts\)`}
		e.check(t, once(t, e.in(httpTarget(blackHole(t), HTTP{}))))
	})
}

// An attempt that hangs is helped out by the next, on a connection of its own.
func TestHTTPSecondAttempt(t *testing.T) {
	var conns atomic.Int32
	port := listen(t, "tcp4", "127.0.0.1:0", func(c net.Conn) {
		if conns.Add(1) > 1 {
			_, _ = c.Read(make([]byte, 4096))
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
		hold(c)
	})
	o := once(t, httpTarget(port, HTTP{}))
	expectation{policy.Success, `200 from .*`}.check(t, o)
	if o.Latency > 1900*time.Millisecond { // the second began after 2 s
		t.Errorf("latency %v counts from the first attempt, not from the one that was answered", o.Latency)
	}
}

// counted is a server that counts its connections and answers as told.
func counted(t *testing.T, config *tls.Config, handle http.HandlerFunc) (port uint16, conns *atomic.Int32) {
	conns = new(atomic.Int32)
	server := httptest.NewUnstartedServer(handle)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			conns.Add(1)
		}
	}
	server.TLS = config
	if config == nil {
		server.Start()
	} else {
		server.StartTLS()
	}
	t.Cleanup(server.Close)
	return uint16(server.Listener.Addr().(*net.TCPAddr).Port), conns
}

func TestHTTPKeepsItsConnection(t *testing.T) {
	page := func(size int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write(make([]byte, size)) }
	}
	for _, tc := range []struct {
		name   string
		handle http.HandlerFunc
		http   HTTP
		conns  int32 // at least, for 4 checks
	}{
		{"no body", page(0), HTTP{}, 1},
		{"small page", page(100), HTTP{}, 1},
		{"chunked page", page(8000), HTTP{}, 1},
		{"page looked at", page(20_000), HTTP{Body: "^"}, 1},
		{"page too large", page(maxBody + 1), HTTP{}, 4},
		{"server closes", func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Connection", "close") }, HTTP{}, 4},
		{"told to", page(0), HTTP{NewConnection: true}, 4},
	} {
		t.Run(tc.name, func(t *testing.T) {
			port, conns := counted(t, nil, tc.handle)
			for _, o := range several(t, httpTarget(port, tc.http), 4) {
				expectation{policy.Success, "200 from .*"}.check(t, o)
			}
			if got := conns.Load(); got < tc.conns || tc.conns == 1 && got > 1 {
				t.Errorf("%d connections for 4 checks, expected %d", got, tc.conns)
			}
		})
	}
}

// A kept connection may end, or say something, between checks; that is no answer.
func TestHTTPKeptConnectionEnds(t *testing.T) {
	ok := "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
	for name, after := range map[string]func(net.Conn){
		"closed":                  func(net.Conn) {},
		"reset":                   reset,
		"408":                     func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 408 Request Timeout\r\n\r\n") },
		"closed upon the request": func(c net.Conn) { _, _ = c.Read(make([]byte, 1)) },
	} {
		t.Run(name, func(t *testing.T) {
			port := listen(t, "tcp4", "127.0.0.1:0", func(c net.Conn) {
				_, _ = c.Read(make([]byte, 4096))
				_, _ = io.WriteString(c, ok)
				after(c)
			})
			for _, o := range several(t, httpTarget(port, HTTP{}), 3) {
				expectation{policy.Success, "200 from .*"}.check(t, o)
			}
		})
	}
}

func TestHTTPS(t *testing.T) {
	ca, other, dir := newTestCA(t), newTestCA(t), t.TempDir()
	good := ca.write(t, dir, "www.shop.example")
	old := ca.writeUntil(t, t.TempDir(), time.Now().Add(-time.Minute), "www.shop.example")
	foreign := other.write(t, t.TempDir(), "www.shop.example")
	byAddress := ca.write(t, t.TempDir(), "127.0.0.1")
	serve := func(files certFiles, client bool) uint16 {
		cert, err := tls.LoadX509KeyPair(files.cert, files.key)
		if err != nil {
			t.Fatal(err)
		}
		config := &tls.Config{Certificates: []tls.Certificate{cert}}
		if client {
			config.ClientCAs = x509.NewCertPool()
			config.ClientCAs.AddCert(ca.cert)
			config.ClientAuth = tls.RequireAndVerifyClientCert
		}
		port, _ := counted(t, config, func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "SNI %s, host %s, client %d", r.TLS.ServerName, r.Host, len(r.TLS.PeerCertificates))
		})
		return port
	}
	wellPort := serve(good, false)
	shop := func(h HTTP) HTTP {
		h.URL, h.Host, h.TLS.CAFile = "https://{address}/", "www.shop.example", good.ca
		return h
	}
	for _, tc := range []struct {
		name   string
		port   uint16
		http   HTTP
		expect expectation
	}{
		{"good", wellPort, shop(HTTP{Body: "SNI www.shop.example, host www.shop.example, client 0"}), expectation{policy.Success, "200 from .*"}},
		{"SNI apart from Host", wellPort, HTTP{
			URL: "https://{address}/", Host: "intern.example", TLS: TLS{CAFile: good.ca, ServerName: "www.shop.example"}, Body: "SNI www.shop.example, host intern.example",
		}, expectation{policy.Success, "200 from .*"}},
		{"certificate of the address", serve(byAddress, false), HTTP{URL: "https://{address}/", TLS: TLS{CAFile: good.ca}}, expectation{policy.Success, "200 from .*"}},
		{"expired", serve(old, false), shop(HTTP{}), expectation{policy.Refused, "TLS fails with .*: certificate expired or not yet valid"}},
		{"another CA", serve(foreign, false), shop(HTTP{}), expectation{policy.Refused, "TLS fails with .*: certificate signed by unknown authority.*"}},
		{"client certificate lacking", serve(good, true), shop(HTTP{}), expectation{policy.Refused, "TLS fails with .*: certificate required"}},
		{"client certificate", serve(good, true), shop(HTTP{TLS: TLS{CertFile: good.cert, KeyFile: good.key}, Body: "client 1"}), expectation{policy.Success, "200 from .*"}},
		{"skip verify", serve(foreign, false), HTTP{URL: "https://{address}/", TLS: TLS{SkipVerify: true}}, expectation{policy.Success, "200 from .*"}},
		{"no TLS there", site(t), shop(HTTP{}), expectation{policy.Refused, "TLS fails with .*: no TLS spoken"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			target := httpTarget(tc.port, tc.http)
			tc.expect.check(t, once(t, target))
		})
	}
}

func TestHTTPSResumes(t *testing.T) {
	files := newTestCA(t).write(t, t.TempDir(), "www.shop.example")
	cert, err := tls.LoadX509KeyPair(files.cert, files.key)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var resumed []bool
	port, _ := counted(t, &tls.Config{Certificates: []tls.Certificate{cert}}, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		resumed = append(resumed, r.TLS.DidResume)
	})
	target := httpTarget(port, HTTP{URL: "https://{address}/", Host: "www.shop.example", TLS: TLS{CAFile: files.ca}, NewConnection: true})
	several(t, target, 3)
	mu.Lock()
	defer mu.Unlock()
	if resumed[0] || !resumed[1] || !resumed[2] {
		t.Errorf("sessions resumed: %v, expected all but the first", resumed)
	}
}

// A redirect stays with the target where it names the host that was asked, also
// by another scheme and port; elsewhere it goes without the credentials.
func TestHTTPRedirectsBetweenHosts(t *testing.T) {
	files := newTestCA(t).write(t, t.TempDir(), "www.shop.example")
	cert, err := tls.LoadX509KeyPair(files.cert, files.key)
	if err != nil {
		t.Fatal(err)
	}
	show := func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %q %q", r.Host, r.Header.Get("Authorization"), r.Header.Get("X-Test"))
	}
	secure, _ := counted(t, &tls.Config{Certificates: []tls.Certificate{cert}}, show)
	elsewhere, _ := counted(t, nil, show)
	var to string
	first, _ := counted(t, nil, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusFound) })
	headers := map[string]string{"Authorization": "Bearer x", "X-Test": "y"}
	for _, tc := range []struct {
		name, to, body string
	}{
		{"own host, over TLS", fmt.Sprintf("https://www.shop.example:%d/", secure), `^www\.shop\.example:\d+ "Bearer x" "y"$`},
		{"another host", fmt.Sprintf("http://localhost:%d/", elsewhere), `^localhost:\d+ "" "y"$`},
		{"another address", fmt.Sprintf("http://127.0.0.2:%d/", elsewhere), `^$`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			to = tc.to
			target := httpTarget(first, HTTP{Host: "www.shop.example", Headers: headers, FollowRedirects: 1, TLS: TLS{CAFile: files.ca}, Body: tc.body})
			o := once(t, target)
			if strings.Contains(tc.to, "127.0.0.2") { // nobody listens there
				expectation{policy.Refused, `connection refused by 127\.0\.0\.2:\d+ .*`}.check(t, o)
				return
			}
			expectation{policy.Success, "200 from .*"}.check(t, o)
		})
	}
}

// Certificates that were renewed are taken up by Set; broken ones are not.
func TestCertificatesAreReadAgain(t *testing.T) {
	dir := t.TempDir()
	oldCA, newCA := newTestCA(t), newTestCA(t)
	server := newCA.write(t, t.TempDir(), "www.shop.example")
	files := oldCA.write(t, dir, "www.shop.example")
	port := serveTLS(t, server, &tls.Config{})
	target := tcpTarget(port, TCP{TLS: &TLS{CAFile: files.ca, ServerName: "www.shop.example"}})
	target.ID, target.Address = "x", netip.MustParseAddr("127.0.0.1")
	target.Interval = 20 * time.Millisecond
	seen := make(chan policy.Observation)
	done := make(chan struct{})
	p := New(Config{}, func(o policy.Observation) {
		select {
		case seen <- o:
		case <-done:
		}
	}, discard(), nil)
	p.Set([]Target{target})
	stop := start(t, p)
	defer stop()
	defer close(done)
	await := func(want policy.Outcome) {
		t.Helper()
		deadline := time.After(10 * time.Second)
		for {
			select {
			case o := <-seen:
				if o.Outcome == want {
					return
				}
			case <-deadline:
				t.Fatalf("no %s", outcomes[want])
			}
		}
	}
	await(policy.Refused)
	newCA.write(t, dir, "www.shop.example")
	later := time.Now().Add(time.Second)
	_ = os.Chtimes(files.ca, later, later)
	p.Set([]Target{target})
	await(policy.Success)
	if err := os.WriteFile(files.ca, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.Set([]Target{target})
	<-seen // may be of before
	await(policy.Success)
}

func TestHTTPOverIPv6(t *testing.T) {
	if !inNetns(t) {
		return
	}
	port := listen(t, "tcp6", "[::1]:0", func(c net.Conn) {
		buf := make([]byte, 4096)
		n, _ := c.Read(buf)
		fmt.Fprintf(c, "HTTP/1.0 200 OK\r\n\r\n%s", buf[:n])
	})
	target := httpTarget(port, HTTP{Body: `Host: \[::1\]:\d+`})
	target.Address = netip.IPv6Loopback()
	expectation{policy.Success, `200 from \[::1\]:\d+ after .*`}.check(t, once(t, target))
}
