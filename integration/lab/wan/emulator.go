package wan

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// spin is the end of a wait that precise mode does not sleep through: what the
// kernel needs to wake a thread, and more.
const spin = 300 * time.Microsecond

const (
	priority = 10  // real-time, of precise mode
	niceness = -15 // of coarse mode
)

// longest is longer than any frame may be on its way: one that would be was
// stamped before the clock was set back.
const longest = 5 * MaxDelay

// Mode is how hard the emulator tries.
type Mode string

const (
	Coarse  Mode = "coarse"  // sleeps like any other process: for labs side by side
	Precise Mode = "precise" // real-time priority and a short spin: for one lab alone on the machine
)

// Wire is a pair of interfaces in the emulator's network namespace.
type Wire struct {
	Name string `json:"name"`
	A    string `json:"a"`
	B    string `json:"b"`

	AtoB Impairment `json:"a_to_b"`
	BtoA Impairment `json:"b_to_a"`
}

// Config of an emulator.
type Config struct {
	Mode   Mode   `json:"mode"`
	Seed   uint64 `json:"seed"`   // of all chances
	Socket string `json:"socket"` // where it listens for a Client
	Wires  []Wire `json:"wires"`
}

// emulator is one running emulator. One thread moves all frames.
type emulator struct {
	mode  Mode
	polls []unix.PollFd // of the ports, then of wake
	ports []*port
	read  reader
	wake  int // an eventfd: stop

	mu     sync.Mutex // guards what follows, and lines and counts of the ports
	wires  map[string][2]*port
	queue  queue
	free   []*frame
	number uint64
	rng    *rand.Rand
}

func newEmulator(c Config) (e *emulator, err error) {
	if c.Mode != Coarse && c.Mode != Precise {
		return nil, fmt.Errorf("mode %q: expected %s or %s", c.Mode, Coarse, Precise)
	}
	e = &emulator{mode: c.Mode, wake: -1, wires: map[string][2]*port{}, rng: rand.New(rand.NewPCG(c.Seed, 0))}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.close())
		}
	}()
	for _, w := range c.Wires {
		if err := e.addWire(w); err != nil {
			return nil, fmt.Errorf("wire %s: %w", w.Name, err)
		}
	}
	if e.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return nil, os.NewSyscallError("eventfd", err)
	}
	e.polls = append(e.polls, unix.PollFd{Fd: int32(e.wake), Events: unix.POLLIN})
	return e, nil
}

func (e *emulator) addWire(w Wire) error {
	if _, is := e.wires[w.Name]; is {
		return errors.New("another has this name")
	}
	var ends [2]*port
	for i, end := range []struct {
		name string
		to   Impairment
	}{{w.A, w.AtoB}, {w.B, w.BtoA}} {
		if err := end.to.Validate(); err != nil {
			return err
		}
		p, err := openPort(end.name)
		if err != nil {
			return err
		}
		p.line.set(end.to)
		p.newHistograms()
		ends[i] = p
		e.ports = append(e.ports, p)
		e.polls = append(e.polls, unix.PollFd{Fd: int32(p.fd), Events: unix.POLLIN})
	}
	ends[0].peer, ends[1].peer = ends[1], ends[0]
	e.wires[w.Name] = ends
	return nil
}

func (e *emulator) close() error {
	var errs []error
	for _, p := range e.ports {
		errs = append(errs, p.close())
	}
	if e.wake >= 0 {
		errs = append(errs, unix.Close(e.wake))
	}
	return errors.Join(errs...)
}

// run moves frames until ctx ends.
func (e *emulator) run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _, _ = unix.Write(e.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0}) })
	defer stop()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// The kernel lets a sleep last 50 µs longer than asked, to wake less often: not here.
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0); err != nil {
		return os.NewSyscallError("prctl", err)
	}
	if err := raise(e.mode); err != nil {
		return fmt.Errorf("%s mode: %w", e.mode, err)
	}
	for ctx.Err() == nil {
		timeout := e.sendDue()
		n, err := unix.Ppoll(e.polls, timeout, nil)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("ppoll", err)
		}
		for i := 0; n > 0 && i < len(e.ports); i++ {
			if e.polls[i].Revents != 0 {
				n--
				e.receive(e.ports[i])
			}
		}
	}
	return nil
}

// raise gives all threads of the process priority, and so those that they start:
// over all others in precise mode, a larger share in coarse mode. All: the one
// that moves frames may wait for a lock of the runtime, whose holder must not
// wait for a processor meanwhile.
func raise(m Mode) error {
	for range 2 { // a thread may have been started by one that was not raised yet
		threads, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return err
		}
		for _, t := range threads {
			id, err := strconv.Atoi(t.Name())
			if err != nil {
				return err
			}
			if err := raiseThread(m, id); err != nil && !errors.Is(err, unix.ESRCH) {
				return err
			}
		}
	}
	if m == Coarse {
		// Between sessions, which the kernel may give shares of their own, only this counts (sched(7)).
		err := os.WriteFile("/proc/self/autogroup", []byte(strconv.Itoa(niceness)), 0)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func raiseThread(m Mode, id int) error {
	if m == Coarse {
		return os.NewSyscallError("setpriority", unix.Setpriority(unix.PRIO_PROCESS, id, niceness))
	}
	attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: priority}
	return os.NewSyscallError("sched_setattr", unix.SchedSetAttr(id, &attr, 0))
}

// sendDue sends all frames whose time has come, and returns how long to wait
// for the next.
func (e *emulator) sendDue() *unix.Timespec {
	e.mu.Lock()
	defer e.mu.Unlock()
	for len(e.queue) > 0 {
		now := clock()
		if wait := e.queue[0].leaves - now; wait > 0 && wait < int64(longest) {
			if e.mode == Precise {
				wait = max(0, wait-int64(spin))
			}
			t := unix.NsecToTimespec(wait)
			return &t
		}
		f := e.queue.pop()
		e.send(f)
		e.free = append(e.free, f)
	}
	return nil
}

func (e *emulator) send(f *frame) {
	from := f.from
	if from.line.cut { // while it was on its way
		from.counts.cut++
		return
	}
	if err := from.peer.send(f); err != nil {
		from.failed++
		return
	}
	from.left(f, clock())
}

func (e *emulator) receive(p *port) {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := e.read.read(p, e.fresh)
	now := clock()
	for i := range n {
		p.received++
		f := e.read.take(i, now)
		if f == nil {
			p.failed++
			continue
		}
		f.from = p
		e.enqueue(f)
	}
}

func (e *emulator) enqueue(f *frame) {
	p := f.from
	what, leaves, held := p.line.judge(e.rng, f.stamp, f.octets)
	switch what {
	case lost:
		p.counts.lost++
	case cut:
		p.counts.cut++
	case overflow:
		p.counts.overflow++
	}
	if what != passed {
		e.free = append(e.free, f)
		return
	}
	if held {
		p.reordered++
	}
	f.leaves = leaves
	e.push(f)
	if p.line.Duplicate > 0 && e.rng.Float64() < p.line.Duplicate {
		p.duplicated++
		twin := e.fresh()
		*twin = *f
		e.push(twin)
	}
}

func (e *emulator) push(f *frame) {
	e.number++
	f.number = e.number
	e.queue.push(f)
}

// fresh is a frame to read into, one that was used before if there is.
func (e *emulator) fresh() *frame {
	if n := len(e.free); n > 0 {
		f := e.free[n-1]
		e.free = e.free[:n-1]
		return f
	}
	return new(frame)
}

// clock reads the clock that the kernel stamps frames by.
func clock() int64 { return time.Now().UnixNano() }
