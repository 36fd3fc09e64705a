package probe

import (
	"cmp"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// fault is a want of this host that keeps an attempt from asking; empty: none.
// It says nothing about the target, unlike a missing answer, and unlike a path
// that the network reports to be broken.
type fault string

const (
	faultFiles     fault = "files"
	faultMemory    fault = "memory"
	faultPorts     fault = "ports"
	faultProcesses fault = "processes"
	faultRights    fault = "rights"
	faultFilter    fault = "filter"
)

// remedies says for each fault what a person can do.
var remedies = map[fault]string{
	faultFiles:     "raise the limit of open files (LimitNOFILE= of the service, fs.file-max of the host)",
	faultMemory:    "free memory, or raise what the kernel grants (MemoryMax= of the service, net.ipv4.tcp_mem of the host)",
	faultPorts:     "widen net.ipv4.ip_local_port_range, or find what holds so many ports",
	faultProcesses: "raise the limit of processes (TasksMax= and LimitNPROC= of the service, kernel.pid_max of the host)",
	faultFilter:    "let this host's own packet filter (nftables, iptables OUTPUT, a BPF program) pass the checks",
	faultRights:    "give the service CAP_NET_RAW, or a group inside net.ipv4.ping_group_range",
}

// errNoPort is that no local port is left to ask from.
var errNoPort = errors.New("no local port left")

// faultOf is the fault that an error of asking, of whatever kind, tells of.
func faultOf(err error) fault {
	if errors.Is(err, errNoPort) {
		return faultPorts
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		switch errno {
		case syscall.EMFILE, syscall.ENFILE:
			return faultFiles
		case syscall.ENOBUFS, syscall.ENOMEM:
			return faultMemory
		case syscall.EPERM: // of a send or connect: the filter of this host dropped it
			return faultFilter
		}
		return ""
	}
	var lookup *net.DNSError // keeps only the text
	if errors.As(err, &lookup) {
		for _, errno := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EPERM} {
			if strings.HasSuffix(lookup.Err, errno.Error()) {
				return faultOf(errno)
			}
		}
	}
	return ""
}

// portFault makes errNoPort of the error of a connect that found no local port.
func portFault(err error, network string, to netip.AddrPort) error {
	switch {
	case network == "udp" && errors.Is(err, syscall.EAGAIN),
		network == "tcp" && errors.Is(err, syscall.EADDRNOTAVAIL) && hasSource(to):
		return &noPortError{err}
	}
	return err
}

// noPortError is errNoPort with what the system said.
type noPortError struct{ err error }

func (e *noPortError) Error() string   { return errNoPort.Error() + ": " + e.err.Error() }
func (e *noPortError) Unwrap() []error { return []error{errNoPort, e.err} }

// hasSource says whether this host has an address to reach to from. To have
// none is another reason for EADDRNOTAVAIL, and like no route a fault of the
// path. A datagram socket tells without sending anything.
func hasSource(to netip.AddrPort) bool {
	addr, domain, err := sockaddr(to)
	if err != nil {
		return false
	}
	fd, err := unix.Socket(domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return true
	}
	defer unix.Close(fd)
	return unix.Connect(fd, addr) != unix.EADDRNOTAVAIL
}

// faultLog tells of each fault once a minute.
type faultLog struct {
	log  *slog.Logger
	mu   sync.Mutex
	next map[fault]time.Time
}

func (l *faultLog) tell(f fault, t *target, detail string) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Before(l.next[f]) {
		return
	}
	if l.next == nil {
		l.next = map[fault]time.Time{}
	}
	l.next[f] = now.Add(time.Minute)
	l.log.Warn("this host can't make checks, so the health of their targets stays as it was",
		"fault", string(f), "error", detail, "target", t.Label, "peer", t.checker.peer(), "remedy", remedies[f])
}

// Blindness is that a target can't be checked, by a fault of this host.
type Blindness struct {
	Target string    // its label
	Since  time.Time // when the first check that could not be made ended
	Reason string
	Remedy string // what a person can do
}

// blindness is of one target, from the first check that could not be made to
// the next that could.
type blindness struct {
	since  time.Time
	fault  fault
	detail string
	checks int // that could not be made
}

// blindAfter is how many checks in a row it takes to call a target unchecked:
// a shortage that lasts for one is no news.
const blindAfter = 3

// Blind lists the targets that faults of this host keep from being checked, by
// label, and says whether those are all that there are.
func (p *Prober) Blind() (list []Blindness, all bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, t := range p.targets {
		if b := t.blind.Load(); b != nil && b.checks >= blindAfter {
			list = append(list, Blindness{cmp.Or(t.Label, string(id)), b.since, b.detail, remedies[b.fault]})
		}
	}
	slices.SortFunc(list, func(a, b Blindness) int { return strings.Compare(a.Target, b.Target) })
	return list, len(list) > 0 && len(list) == len(p.targets)
}
