package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"time"
	"unsafe"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"
)

// askEvery is the time from one question to the next.
const askEvery = 500 * time.Microsecond

// answers is what a stream of questions showed. The times are the kernel's
// own, from a question's way out to its answer's way in: what the asking
// process waits for is not in them.
type answers struct {
	took []float64 // µs
	lost []int     // which questions had no answer within 2 s
	gap  float64   // µs, the longest time without a question: what happened in it was not seen whole
	slow []slow    // the slowest first
}

// slow is an answer that took long.
type slow struct {
	asked int64 // nanoseconds since 1970
	took  time.Duration
}

// ask sends a question every askEvery for d, or until done is closed and d at the most.
func ask(ctx context.Context, s *server, d time.Duration, done <-chan struct{}) (answers, error) {
	q, err := newAsker(s.addr())
	if err != nil {
		return answers{}, err
	}
	defer unix.Close(q.fd)
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	// A collection here would hold up the sender.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	var sending sync.WaitGroup
	var sent int
	var serr error
	ended := make(chan struct{})
	sending.Go(func() { defer close(ended); sent, serr = q.send(ctx, done) })
	rerr := q.receive(ended)
	cancel()
	sending.Wait()
	if err := errors.Join(serr, rerr); err != nil {
		return answers{}, err
	}
	return q.result(sent)
}

// asker is one socket whose datagrams the kernel stamps.
type asker struct {
	fd     int
	packet []byte
	out    map[uint32]int64 // by number, when the question left
	in     map[uint32]int64 // by number, when its answer came
	last   uint32           // number of the answer that came last
}

func newAsker(addr string) (*asker, error) {
	at, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, err
	}
	m := new(dns.Msg)
	m.SetQuestion("ns1."+benchZone, dns.TypeA)
	q := &asker{out: map[uint32]int64{}, in: map[uint32]int64{}}
	if q.packet, err = m.Pack(); err != nil {
		return nil, err
	}
	if q.fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	// OPT_ID numbers the stamps as the datagrams were sent, from 0.
	const flags = unix.SOF_TIMESTAMPING_TX_SOFTWARE | unix.SOF_TIMESTAMPING_RX_SOFTWARE | unix.SOF_TIMESTAMPING_SOFTWARE |
		unix.SOF_TIMESTAMPING_OPT_ID | unix.SOF_TIMESTAMPING_OPT_TSONLY
	err = unix.SetsockoptInt(q.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20)
	if err != nil {
		err = unix.SetsockoptInt(q.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 64<<20)
	}
	if err == nil {
		err = unix.Connect(q.fd, &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()})
	}
	if err == nil {
		err = unix.SetsockoptInt(q.fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPING, flags)
	}
	if err != nil {
		unix.Close(q.fd)
		return nil, fmt.Errorf("set up the asking socket: %w", err)
	}
	return q, nil
}

// send keeps the pace.
func (q *asker) send(ctx context.Context, done <-chan struct{}) (n int, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	pause := unix.NsecToTimespec(int64(askEvery))
	for {
		select {
		case <-ctx.Done():
			return n, nil
		case <-done:
			return n, nil
		default:
		}
		binary.BigEndian.PutUint16(q.packet, uint16(n))
		// Raw, so that the Go scheduler does not come between.
		_, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(q.fd), uintptr(unsafe.Pointer(&q.packet[0])), uintptr(len(q.packet)))
		if errno != 0 {
			return n, os.NewSyscallError("send", errno)
		}
		n++
		_, _, _ = unix.RawSyscall6(unix.SYS_CLOCK_NANOSLEEP, unix.CLOCK_MONOTONIC, 0, uintptr(unsafe.Pointer(&pause)), 0, 0, 0)
	}
}

// receive takes in stamps and answers until the sender has ended and nothing
// comes any more. It looks only now and then, to leave the cores to the server:
// the kernel has stamped them.
func (q *asker) receive(ended <-chan struct{}) error {
	buf, oob := make([]byte, 512), make([]byte, 512)
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for quiet := 0; quiet < 100; { // 2 s, far beyond any answer
		<-look.C
		select {
		case <-ended:
			ended, quiet = nil, 0
		default:
		}
		if ended == nil {
			quiet++
		}
		for _, flags := range []int{unix.MSG_ERRQUEUE | unix.MSG_DONTWAIT, unix.MSG_DONTWAIT} {
			for {
				l, ol, _, _, err := unix.Recvmsg(q.fd, buf, oob, flags)
				if errors.Is(err, unix.EAGAIN) {
					break
				}
				if err != nil {
					return os.NewSyscallError("recvmsg", err)
				}
				q.take(buf[:l], oob[:ol], flags&unix.MSG_ERRQUEUE != 0)
			}
		}
	}
	return nil
}

func (q *asker) take(packet, oob []byte, leaving bool) {
	at, number, ok := stamp(oob)
	switch {
	case !ok:
	case leaving:
		q.out[number] = at
	case len(packet) >= 2:
		q.in[q.number(binary.BigEndian.Uint16(packet))] = at
	}
}

// number is that of the question whose lower 16 bits are id: the nearest to the last one.
func (q *asker) number(id uint16) uint32 {
	q.last += uint32(int32(int16(id - uint16(q.last))))
	return q.last
}

// stamp is the kernel's time of a datagram in nanoseconds since 1970, and for one that left its number.
func stamp(oob []byte) (at int64, number uint32, ok bool) {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return 0, 0, false
	}
	for _, m := range msgs {
		switch {
		case m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SO_TIMESTAMPING && len(m.Data) >= 16:
			at = int64(binary.NativeEndian.Uint64(m.Data))*1e9 + int64(binary.NativeEndian.Uint64(m.Data[8:]))
			ok = true
		case m.Header.Level == unix.SOL_IP && m.Header.Type == unix.IP_RECVERR && len(m.Data) >= 16:
			number = binary.NativeEndian.Uint32(m.Data[12:]) // ee_data of struct sock_extended_err
		}
	}
	return at, number, ok
}

func (q *asker) result(sent int) (answers, error) {
	var a answers
	var before int64
	for i := range uint32(sent) {
		out, ok := q.out[i]
		if !ok {
			return a, fmt.Errorf("the kernel did not say when question %d left", i)
		}
		if before != 0 {
			a.gap = max(a.gap, float64(out-before)/1e3)
		}
		before = out
		if in, ok := q.in[i]; ok {
			a.took = append(a.took, float64(in-out)/1e3)
			a.slow = append(a.slow, slow{out, time.Duration(in - out)})
		} else {
			a.lost = append(a.lost, int(i))
		}
	}
	slices.SortFunc(a.slow, func(a, b slow) int { return int(b.took - a.took) })
	return a, nil
}
