package probe

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/sys/unix"

	"github.com/scloudstack/pharos/policy"
)

const (
	benchTargets = 10_000
	benchWarm    = 2 * time.Second
	benchWindow  = 6 * time.Second
)

// BenchmarkTargets checks 10,000 targets once a second, each at a loopback
// address of its own, and reports what a check costs this process; the server
// is another one. Half a core is 50 µs a check.
func BenchmarkTargets(b *testing.B) {
	files := newTestCA(b).write(b, b.TempDir(), "bench.example")
	secure := TLS{CAFile: files.ca, ServerName: "bench.example"}
	for _, bench := range []struct {
		name, server string
		check        func(port uint16) Check
	}{
		{"tcp", "tcp", func(port uint16) Check { return Check{TCP: &TCP{Port: port}} }},
		{"http", "http", func(port uint16) Check { return Check{HTTP: &HTTP{URL: fmt.Sprintf("http://{address}:%d/", port)}} }},
		{"https", "https", func(port uint16) Check {
			return Check{HTTP: &HTTP{URL: fmt.Sprintf("https://{address}:%d/", port), TLS: secure}}
		}},
		{"https-resumed", "https", func(port uint16) Check {
			return Check{HTTP: &HTTP{URL: fmt.Sprintf("https://{address}:%d/", port), TLS: secure, NewConnection: true}}
		}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			n := benchTargets
			switch bench.name { // the server's half of the handshakes needs this machine too
			case "https":
				n /= 2
			case "https-resumed":
				n /= 10
			}
			port := startServer(b, bench.server, files)
			for range b.N {
				benchTargetsOnce(b, n, bench.check(port))
			}
		})
	}
}

func benchTargetsOnce(b *testing.B, n int, c Check) {
	var good, bad atomic.Int64
	var fault atomic.Value
	p := New(Config{Observer: "bench"}, func(o policy.Observation) {
		if o.Outcome == policy.Success {
			good.Add(1)
			return
		}
		bad.Add(1)
		fault.Store(o.Reason)
	}, discard(), nil)
	targets := make([]Target, n)
	for i := range targets {
		t := Target{Address: loopback(i), Check: c, Interval: time.Second, Timeout: 900 * time.Millisecond, Jitter: 50 * time.Millisecond}
		t.ID = t.Hash(3, 3)
		targets[i] = t
	}
	p.Set(targets)
	stop := start(b, p)
	defer stop()
	poll(b, "a success of each target", func() bool { return good.Load() >= int64(n) })
	time.Sleep(benchWarm)
	good.Store(0)
	bad.Store(0)
	late := testutil.ToFloat64(p.metrics.late)
	user, system := cpu(b)
	began := time.Now()
	time.Sleep(benchWindow)
	took := time.Since(began)
	userEnd, systemEnd := cpu(b)
	user, system = userEnd-user, systemEnd-system
	used := user + system
	checks := good.Load() + bad.Load()
	b.Logf("%.1f µs/check (%.1f user, %.1f system), %d checks, %d failed (%v), %.0f late",
		per(used, checks), per(user, checks), per(system, checks), checks, bad.Load(), fault.Load(), testutil.ToFloat64(p.metrics.late)-late)
	b.ReportMetric(per(used, checks), "cpu-µs/check")
	b.ReportMetric(100*used.Seconds()/took.Seconds(), "%core")
	b.ReportMetric(float64(checks)/took.Seconds(), "checks/s")
	b.ReportMetric(float64(bad.Load()), "failed")
	b.ReportMetric(0, "ns/op")
	if want := float64(n) * took.Seconds(); float64(checks) < 0.95*want {
		b.Errorf("%d checks, expected %.0f", checks, want)
	}
}

// per is the µs that each of n checks used.
func per(d time.Duration, n int64) float64 { return float64(d.Nanoseconds()) / 1000 / float64(n) }

// BenchmarkFloor is what the system calls alone cost, from one thread that does
// nothing else: a connection opened and reset, a request and answer on an open
// connection. It is what BenchmarkTargets is to be compared with in one run.
func BenchmarkFloor(b *testing.B) {
	const rounds = 30_000
	measure := func(b *testing.B, server string, round func(b *testing.B, i int, port uint16)) {
		port := startServer(b, server, certFiles{})
		for range b.N {
			user, system := cpu(b)
			for i := range rounds {
				round(b, i%benchTargets, port)
			}
			userEnd, systemEnd := cpu(b)
			b.ReportMetric(per(userEnd+systemEnd-user-system, rounds), "cpu-µs/check")
			b.ReportMetric(0, "ns/op")
		}
	}
	open := func(b *testing.B, i int, port uint16) int {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			b.Fatal(err)
		}
		if err := unix.Connect(fd, &unix.SockaddrInet4{Port: int(port), Addr: loopback(i).As4()}); err != nil {
			b.Fatal(err)
		}
		return fd
	}
	b.Run("tcp", func(b *testing.B) {
		measure(b, "tcp", func(b *testing.B, i int, port uint16) {
			fd := open(b, i, port)
			_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
			_ = unix.Close(fd)
		})
	})
	b.Run("http", func(b *testing.B) {
		fd := -1
		buf := make([]byte, 4096)
		measure(b, "http", func(b *testing.B, i int, port uint16) {
			if fd < 0 {
				fd = open(b, i, port)
			}
			if _, err := unix.Write(fd, []byte("GET / HTTP/1.1\r\nHost: 127.16.0.1:12345\r\nUser-Agent: pharos\r\nAccept: */*\r\n\r\n")); err != nil {
				b.Fatal(err)
			}
			if _, err := unix.Read(fd, buf); err != nil {
				b.Fatal(err)
			}
		})
		_ = unix.Close(fd)
	})
}

// loopback is the ith address of 127.16.0.0/12.
func loopback(i int) netip.Addr {
	var a [4]byte
	binary.BigEndian.PutUint32(a[:], 127<<24|16<<16+uint32(i)+1)
	return netip.AddrFrom4(a)
}

// cpu is the time that this process used, in user and in kernel mode.
func cpu(tb testing.TB) (user, system time.Duration) {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano()), time.Duration(u.Stime.Nano())
}

// startServer runs the test binary as a server, on every loopback address.
func startServer(tb testing.TB, kind string, files certFiles) uint16 {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), serverEnv+"="+kind, "CERT="+files.cert, "KEY="+files.key)
	stdin, err := cmd.StdinPipe() // its end tells the server to end
	if err != nil {
		tb.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		tb.Fatal(err)
	}
	addr, err := netip.ParseAddrPort(strings.TrimSpace(line))
	if err != nil {
		tb.Fatal(err)
	}
	return addr.Port()
}

// serve is the server: as little work as possible, so that the machine is the
// prober's.
func serve(kind string) {
	l, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(l.Addr())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	var config *tls.Config
	if kind == "https" {
		cert, err := tls.LoadX509KeyPair(os.Getenv("CERT"), os.Getenv("KEY"))
		if err != nil {
			panic(err)
		}
		config = &tls.Config{Certificates: []tls.Certificate{cert}}
	}
	for {
		c, err := l.Accept()
		if err != nil {
			panic(err)
		}
		if kind == "tcp" {
			_ = c.Close()
			continue
		}
		go answerAll(c, config)
	}
}

func answerAll(c net.Conn, config *tls.Config) {
	if config != nil {
		c = tls.Server(c, config)
	}
	defer c.Close()
	buf := make([]byte, 1024)
	for {
		n, err := c.Read(buf)
		if err != nil || !bytes.HasSuffix(buf[:n], []byte("\r\n\r\n")) {
			return
		}
		if _, err := c.Write([]byte("HTTP/1.1 200 OK\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nok\n")); err != nil {
			return
		}
	}
}
