package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/miekg/dns"
)

// zoneFile is one zone that a server is given.
type zoneFile struct {
	name string // with the final dot
	path string
}

// steered is one name whose addresses depend on health where the server can do
// that (gdnsd, pharos); the others serve the first address.
type steered struct {
	name  string // label below the zone
	addrs [2]string
}

// workload is what every server is set up with.
type workload struct {
	zones     []zoneFile
	steered   []steered // in zones[0]
	checkPort int       // where the balancers of the steered names listen
}

// server is one running name server.
type server struct {
	name string
	port int
	cmd  *exec.Cmd
	log  string
	dir  string
}

// configure writes a server's files into dir and returns the command that runs it in the foreground.
type configure func(o options, dir string, port int, w workload) ([]string, error)

// peer is one kind of server.
type peer struct {
	name      string
	configure configure
}

var servers = []peer{
	{"knotd", knotd},
	{"nsd", nsd},
	{"gdnsd", gdnsd},
	{"pharos", pharos},
}

// start runs one server pinned to a core and waits until it answers for the last zone.
func start(ctx context.Context, o options, name, base string, w workload) (*server, time.Duration, error) {
	dir := filepath.Join(base, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, 0, err
	}
	port, err := freePort()
	if err != nil {
		return nil, 0, err
	}
	i := slices.IndexFunc(servers, func(s peer) bool { return s.name == name })
	argv, err := servers[i].configure(o, dir, port, w)
	if err != nil {
		return nil, 0, err
	}
	s := &server{name: name, port: port, dir: dir, log: filepath.Join(dir, "log")}
	out, err := os.Create(s.log)
	if err != nil {
		return nil, 0, err
	}
	defer out.Close()
	s.cmd = exec.Command("taskset", append([]string{"-c", o.cpus[0]}, argv...)...)
	s.cmd.Stdout, s.cmd.Stderr = out, out
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	begin := time.Now()
	if err := s.cmd.Start(); err != nil {
		return nil, 0, err
	}
	if err := s.await(ctx, w.zones[len(w.zones)-1].name, dns.TypeSOA); err != nil {
		s.stop()
		tail, _ := os.ReadFile(s.log)
		return nil, 0, fmt.Errorf("%s: %w\n%s", name, err, lastLines(tail, 15))
	}
	return s, time.Since(begin), nil
}

// await polls until the server answers name and type with NOERROR and an answer.
func (s *server) await(ctx context.Context, name string, typ uint16) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	c := dns.Client{Timeout: 200 * time.Millisecond}
	for {
		m := new(dns.Msg)
		m.SetQuestion(name, typ)
		if r, _, err := c.ExchangeContext(ctx, m, s.addr()); err == nil && r.Rcode == dns.RcodeSuccess && len(r.Answer) > 0 {
			return nil
		}
		if err := syscall.Kill(s.cmd.Process.Pid, 0); err != nil {
			return errors.New("ended before it answered")
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("no answer for %s: %w", name, ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (s *server) addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// stop ends the server and waits for it.
func (s *server) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	done := make(chan struct{})
	go func() { _ = s.cmd.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		_ = s.cmd.Process.Kill()
		<-done
	}
}

// pids are the server's processes: itself and its children (nsd answers in one).
func (s *server) pids() []int {
	all := []int{s.cmd.Process.Pid}
	for i := 0; i < len(all); i++ {
		lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", all[i]))
		for _, l := range lists {
			b, _ := os.ReadFile(l)
			for _, f := range strings.Fields(string(b)) {
				if pid, err := strconv.Atoi(f); err == nil {
					all = append(all, pid)
				}
			}
		}
	}
	return all
}

// cpu is the time that the server's threads have run, from the scheduler's own
// accounting in nanoseconds (/proc/PID/task/TID/schedstat, first field).
func (s *server) cpu() (time.Duration, error) {
	var sum int64
	for _, pid := range s.pids() {
		stats, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
		for _, f := range stats {
			b, err := os.ReadFile(f)
			if err != nil {
				continue // the thread has just ended
			}
			ns, err := strconv.ParseInt(strings.Fields(string(b))[0], 10, 64)
			if err != nil {
				return 0, fmt.Errorf("%s: %w", f, err)
			}
			sum += ns
		}
	}
	return time.Duration(sum), nil
}

// memory is the proportional set size of the server's processes, in bytes, so
// that pages which nsd's processes share count once.
func (s *server) memory() (int64, error) {
	var sum int64
	for _, pid := range s.pids() {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			return 0, err
		}
		for _, line := range strings.Split(string(b), "\n") {
			if f := strings.Fields(line); len(f) == 3 && f[0] == "Pss:" {
				kb, _ := strconv.ParseInt(f[1], 10, 64)
				sum += kb << 10
			}
		}
	}
	return sum, nil
}

func freePort() (int, error) {
	c, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).Port, nil
}

func lastLines(b []byte, n int) string {
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
