package host

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// End is one end of a cable.
type End struct {
	Host   *Host
	Device string
}

// mac makes the hardware address of an end from its cable's number, so that
// each end knows the other's without asking.
func mac(number, end int) net.HardwareAddr {
	return net.HardwareAddr{0x02, 0, byte(number >> 16), byte(number >> 8), byte(number), byte(end)}
}

// Cable connects two hosts by a pair of interfaces, made inside their
// namespaces. Numbers tell the hardware addresses of cables apart.
func Cable(number int, a, b End) error {
	pair := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: a.Device, HardwareAddr: mac(number, 1)},
		PeerName:  b.Device, PeerHardwareAddr: mac(number, 2), PeerNamespace: netlink.NsFd(int(b.Host.ns)),
	}
	if err := a.Host.links.LinkAdd(pair); err != nil {
		return fmt.Errorf("cable %s %s to %s %s: %w", a.Host.name, a.Device, b.Host.name, b.Device, err)
	}
	for _, end := range []End{a, b} {
		if err := end.up(); err != nil {
			return err
		}
	}
	return nil
}

func (e End) up() error {
	link, err := e.Host.links.LinkByName(e.Device)
	if err == nil {
		err = e.Host.links.LinkSetUp(link)
	}
	if err != nil {
		return fmt.Errorf("host %s: %s up: %w", e.Host.name, e.Device, err)
	}
	return nil
}

// Address is the hardware address of the end.
func (e End) Address() (net.HardwareAddr, error) {
	link, err := e.Host.links.LinkByName(e.Device)
	if err != nil {
		return nil, fmt.Errorf("host %s: %s: %w", e.Host.name, e.Device, err)
	}
	return link.Attrs().HardwareAddr, nil
}

// Neighbour says for good which hardware address an address has behind the end:
// ARP would add seconds of its own to the mending of a cut.
func (e End) Neighbour(a netip.Addr, hw net.HardwareAddr) error {
	link, err := e.Host.links.LinkByName(e.Device)
	if err == nil {
		err = e.Host.links.NeighSet(&netlink.Neigh{
			LinkIndex: link.Attrs().Index, IP: a.AsSlice(), HardwareAddr: hw, State: netlink.NUD_PERMANENT,
		})
	}
	if err != nil {
		return fmt.Errorf("host %s: neighbour %s on %s: %w", e.Host.name, a, e.Device, err)
	}
	return nil
}

// Bare makes the end a port for packet sockets: the kernel says nothing of its
// own there, and merges nothing.
func (e End) Bare() error {
	link, err := e.Host.links.LinkByName(e.Device)
	if err == nil {
		err = e.Host.links.LinkSetARPOff(link)
	}
	if err != nil {
		return fmt.Errorf("host %s: %s: %w", e.Host.name, e.Device, err)
	}
	return e.NoOffloads()
}

// Commands of the ethtool ioctl, linux/ethtool.h.
const (
	ethtoolSetTxChecksum = 0x17
	ethtoolSetTSO        = 0x1f
	ethtoolSetGSO        = 0x24
	ethtoolSetGRO        = 0x2c
)

// NoOffloads has the kernel compute checksums and cut segments before the frame
// leaves the end, as it must where the other end is not the kernel's.
func (e End) NoOffloads() error {
	err := e.Host.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return os.NewSyscallError("socket", err)
		}
		var errs []error
		for _, command := range []uint32{ethtoolSetTxChecksum, ethtoolSetTSO, ethtoolSetGSO, ethtoolSetGRO} {
			errs = append(errs, ethtool(fd, e.Device, command, 0))
		}
		return errors.Join(append(errs, unix.Close(fd))...)
	})
	if err != nil {
		return fmt.Errorf("host %s: %s: offloads off: %w", e.Host.name, e.Device, err)
	}
	return nil
}

func ethtool(fd int, device string, command, value uint32) error {
	data := struct{ command, value uint32 }{command, value} // struct ethtool_value
	request := struct {                                     // struct ifreq
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}{data: unsafe.Pointer(&data)}
	copy(request.name[:unix.IFNAMSIZ-1], device)
	_, _, err := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request)))
	if err != 0 {
		return fmt.Errorf("ethtool %#x: %w", command, err)
	}
	return nil
}
