package probe

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/scloudstack/pharos/policy"
)

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// start runs p; stop ends it and waits. It is stopped with the test, too.
func start(tb testing.TB, p *Prober) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	done := false
	stop = func() {
		cancel()
		if done {
			return
		}
		done = true
		select {
		case err := <-ended:
			if err != nil {
				tb.Errorf("Run: %v", err)
			}
		case <-time.After(10 * time.Second):
			tb.Fatal("Run did not end")
		}
	}
	tb.Cleanup(stop)
	return stop
}

// testCA signs certificates.
type testCA struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

type certFiles struct{ ca, cert, key string }

func newTestCA(tb testing.TB) *testCA {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		tb.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return &testCA{cert, key}
}

// write makes a certificate for the names and writes it into dir.
func (ca *testCA) write(tb testing.TB, dir string, names ...string) certFiles {
	return ca.writeUntil(tb, dir, time.Now().Add(time.Hour), names...)
}

func (ca *testCA) writeUntil(tb testing.TB, dir string, until time.Time, names ...string) certFiles {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: names[0]},
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: until,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, &key.PublicKey, ca.key)
	if err != nil {
		tb.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		tb.Fatal(err)
	}
	files := certFiles{filepath.Join(dir, "ca.pem"), filepath.Join(dir, names[0]+".pem"), filepath.Join(dir, names[0]+".key")}
	for path, block := range map[string]*pem.Block{
		files.ca:   {Type: "CERTIFICATE", Bytes: ca.cert.Raw},
		files.cert: {Type: "CERTIFICATE", Bytes: der},
		files.key:  {Type: "PRIVATE KEY", Bytes: keyDER},
	} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	return files
}

// once checks target until its first observation.
func once(t *testing.T, target Target) policy.Observation {
	t.Helper()
	return several(t, target, 1)[0]
}

// several returns the first n observations of target.
func several(t *testing.T, target Target, n int) []policy.Observation {
	t.Helper()
	if target.ID == "" {
		target.ID = target.Hash(3, 3)
	}
	if !target.Address.IsValid() {
		target.Address = netip.MustParseAddr("127.0.0.1")
	}
	if found := target.Problems(); len(found) > 0 {
		t.Fatalf("bad target: %v", found)
	}
	seen := make(chan policy.Observation, n)
	p := New(Config{Observer: "test"}, func(o policy.Observation) {
		select {
		case seen <- o:
		default:
		}
	}, slog.New(slog.NewTextHandler(t.Output(), nil)), nil)
	p.Set([]Target{target})
	stop := start(t, p)
	defer stop()
	var all []policy.Observation
	for range n {
		select {
		case o := <-seen:
			all = append(all, o)
		case <-time.After(20 * time.Second):
			t.Fatalf("%d observations, expected %d", len(all), n)
		}
	}
	return all
}

// expectation is what an observation should say; Reason is a regular expression.
type expectation struct {
	outcome policy.Outcome
	reason  string
}

func (e expectation) check(t *testing.T, o policy.Observation) {
	t.Helper()
	if o.Outcome != e.outcome || !regexp.MustCompile("^"+e.reason+"$").MatchString(o.Reason) {
		t.Errorf("got %s %q, expected %s %q", outcomes[o.Outcome], o.Reason, outcomes[e.outcome], e.reason)
	}
}

// in gives the target the time for what is expected: little where that is
// silence, else enough for a machine that is busy.
func (e expectation) in(target Target) Target {
	target.Timeout = 6 * time.Second
	if e.outcome == policy.Timeout {
		target.Timeout = 300 * time.Millisecond
	}
	return target
}

// listen serves each connection with handle until the test ends.
func listen(t *testing.T, network, address string, handle func(net.Conn)) uint16 {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
			wg.Go(func() {
				defer c.Close()
				handle(c)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for _, c := range open {
			_ = c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return l.Addr().(*net.TCPAddr).AddrPort().Port()
}

// closedPort is a port that nobody listens on.
func closedPort(t *testing.T) uint16 {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).AddrPort().Port()
}

// blackHole is a port that drops SYNs: its queue of connections is full.
func blackHole(t *testing.T) uint16 {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	port := sa.(*unix.SockaddrInet4).Port
	for range 10 {
		c, err := net.DialTimeout("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), 100*time.Millisecond)
		if err != nil {
			return uint16(port)
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	t.Fatal("the queue did not fill")
	return 0
}

// reset closes a connection with a reset.
func reset(c net.Conn) {
	_ = c.(*net.TCPConn).SetLinger(0)
	_ = c.Close()
}

const namespaceEnv = "PHAROS_PROBE_TEST_NETNS"

// inNetns runs the calling test again in a network namespace of its own, where
// it may do anything: that run returns true, the outer one false.
func inNetns(t *testing.T) bool {
	t.Helper()
	if os.Getenv(namespaceEnv) != "" {
		loopbackUp(t)
		return true
	}
	runInNetns(t, 0)
	return false
}

// inNetnsUnprivileged is inNetns without any right, and so without an interface.
func inNetnsUnprivileged(t *testing.T) bool {
	t.Helper()
	if os.Getenv(namespaceEnv) != "" {
		return true
	}
	runInNetns(t, 1000)
	return false
}

// runInNetns runs the calling test as a user of that number.
func runInNetns(t *testing.T, user int) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), namespaceEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: user, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: user, HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	t.Logf("in a namespace:\n%s", out)
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("failed in a namespace: %v", err)
	}
}

func loopbackUp(t *testing.T) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		t.Fatal(err)
	}
	ifr.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr); err != nil {
		t.Fatal(err)
	}
}
