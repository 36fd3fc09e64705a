package lab

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/scloudstack/pharos/integration/lab/host"
)

const (
	minDatagram   = 12 // a number and a time
	arrivalBuffer = 16 << 20
)

// Load is a stream of datagrams.
type Load struct {
	Count  int
	Octets int           // of each, 12 at least
	Every  time.Duration // between two; 0: as fast as they go
	Wait   time.Duration // for the last to arrive
}

// Arrival is one datagram that arrived.
type Arrival struct {
	Number int           // in the order in which they were sent, from 0 on
	Delay  time.Duration // from before it was sent to the kernel's stamp of its arrival
}

// Traverse sends datagrams from one host to an address of another, and returns
// those that arrived, in the order in which they did.
func Traverse(ctx context.Context, from, to *host.Host, address netip.Addr, load Load) ([]Arrival, error) {
	if load.Octets < minDatagram {
		return nil, fmt.Errorf("traverse: datagrams of %d octets: expected %d or more", load.Octets, minDatagram)
	}
	in, err := to.ListenPacket("udp4", netip.AddrPortFrom(address, 0).String())
	if err != nil {
		return nil, err
	}
	defer func() { _ = in.Close() }()
	ear := in.(*net.UDPConn)
	if err := stampArrivals(ear); err != nil {
		return nil, err
	}
	out, err := from.Dial(ctx, "udp4", ear.LocalAddr().String())
	if err != nil {
		return nil, err
	}
	defer func() { _ = out.Close() }()

	heard := make(chan []Arrival, 1)
	go func() { heard <- hear(ear) }()
	err = load.send(ctx, out)
	_ = ear.SetReadDeadline(time.Now().Add(load.Wait))
	return <-heard, err
}

func stampArrivals(c *net.UDPConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var set error
	err = raw.Control(func(fd uintptr) {
		set = errors.Join(
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1),
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, arrivalBuffer),
		)
	})
	return errors.Join(err, os.NewSyscallError("setsockopt", set))
}

func (l Load) send(ctx context.Context, out net.Conn) error {
	packet := make([]byte, l.Octets)
	begun := time.Now()
	for i := range l.Count {
		if wait := time.Until(begun.Add(time.Duration(i) * l.Every)); wait > 0 {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(wait):
			}
		}
		binary.BigEndian.PutUint32(packet, uint32(i))
		binary.BigEndian.PutUint64(packet[4:], uint64(time.Now().UnixNano()))
		if _, err := out.Write(packet); err != nil {
			return fmt.Errorf("traverse: %w", err)
		}
	}
	return nil
}

// hear takes what arrives until the deadline of the socket.
func hear(c *net.UDPConn) []Arrival {
	var all []Arrival
	packet, control := make([]byte, 64<<10), make([]byte, 64)
	for {
		n, oob, _, _, err := c.ReadMsgUDP(packet, control)
		if err != nil {
			return all
		}
		messages, err := unix.ParseSocketControlMessage(control[:oob])
		if err != nil || n < minDatagram || len(messages) == 0 || len(messages[0].Data) < int(unsafe.Sizeof(unix.Timespec{})) {
			continue
		}
		stamp := (*unix.Timespec)(unsafe.Pointer(&messages[0].Data[0])).Nano()
		sent := int64(binary.BigEndian.Uint64(packet[4:]))
		all = append(all, Arrival{Number: int(binary.BigEndian.Uint32(packet)), Delay: time.Duration(stamp - sent)})
	}
}
