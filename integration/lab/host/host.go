package host

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Host is one network namespace. It may be used by several goroutines.
type Host struct {
	name  string
	ns    netns.NsHandle
	links *netlink.Handle
}

// settings of a new host: it forwards nothing, asks nobody about itself, and
// takes frames whichever way they come.
var settings = map[string]string{
	"net/ipv4/conf/all/rp_filter":        "0",
	"net/ipv4/conf/default/rp_filter":    "0",
	"net/ipv4/ip_forward":                "0",
	"net/ipv6/conf/default/disable_ipv6": "1", // of interfaces to come: no addresses or chatter that nobody asked for
}

// New makes a host with a loopback interface. Its name is for people.
func New(name string) (*Host, error) {
	h := &Host{name: name, ns: netns.None()}
	err := onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make a network namespace: %w", err)
		}
		var err error
		if h.ns, err = netns.Get(); err != nil {
			return err
		}
		if h.links, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
			return err
		}
		lo, err := h.links.LinkByName("lo")
		if err != nil {
			return err
		}
		return h.links.LinkSetUp(lo)
	})
	if err == nil {
		err = h.Set(settings)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("host %s: %w", name, err), h.Close())
	}
	return h, nil
}

// Name is what New was given.
func (h *Host) Name() string { return h.name }

// Close lets go of the namespace. Programs and sockets in it keep it alive.
func (h *Host) Close() error {
	if h.links != nil {
		h.links.Close()
	}
	if h.ns.IsOpen() {
		return h.ns.Close()
	}
	return nil
}

// Namespace tells a network namespace from all others, also from one that the kernel makes later with
// the inode of one that has ended (socket(7), SO_NETNS_COOKIE).
type Namespace struct{ Inode, Cookie uint64 }

// Namespace is the host's.
func (h *Host) Namespace() (Namespace, error) { return NamespaceAt(h.Path()) }

// NamespaceAt is that which a file in /proc stands for: /proc/PID/ns/net, or a descriptor of one.
func NamespaceAt(path string) (id Namespace, err error) {
	ns, err := netns.GetFromPath(path)
	if err != nil {
		return id, fmt.Errorf("network namespace %s: %w", path, err)
	}
	defer func() { err = errors.Join(err, ns.Close()) }()
	var s unix.Stat_t
	if err := unix.Fstat(int(ns), &s); err != nil {
		return id, fmt.Errorf("network namespace %s: %w", path, err)
	}
	id.Inode = s.Ino
	err = onThread(func() error {
		if err := netns.Set(ns); err != nil {
			return err
		}
		socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		id.Cookie, err = unix.GetsockoptUint64(socket, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
		return errors.Join(err, unix.Close(socket))
	})
	if err != nil {
		return id, fmt.Errorf("cookie of network namespace %s: %w", path, err)
	}
	return id, nil
}

// Path is where this process has the namespace, for nsenter --net=PATH.
func (h *Host) Path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), int(h.ns)) }

// Do calls f on a thread that is in the namespace, and in no other goroutine.
func (h *Host) Do(f func() error) error {
	return onThread(func() error {
		if err := netns.Set(h.ns); err != nil {
			return fmt.Errorf("enter host %s: %w", h.name, err)
		}
		return f()
	})
}

// onThread calls f on a thread of its own, which ends with it.
func onThread(f func() error) error {
	done := make(chan error, 1)
	spendThread(func() { done <- f() })
	return <-done
}

// spendThread calls f in a goroutine with a thread of its own. The goroutine
// ends without giving the thread back, so the runtime ends it too. It can't end
// the first thread of the process, which would stay in a namespace for good:
// that one is held until f has another.
func spendThread(f func()) {
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() != os.Getpid() {
			f()
			return
		}
		begun := make(chan struct{})
		go func() {
			runtime.LockOSThread()
			close(begun)
			f()
		}()
		<-begun
		runtime.UnlockOSThread()
	}()
}

// Set writes settings of the kernel (sysctl), named as paths below /proc/sys.
func (h *Host) Set(values map[string]string) error {
	return h.Do(func() error {
		for name, value := range values {
			if err := os.WriteFile(filepath.Join("/proc/sys", name), []byte(value), 0); err != nil {
				return fmt.Errorf("host %s: set %s: %w", h.name, strings.ReplaceAll(name, "/", "."), err)
			}
		}
		return nil
	})
}

// Forward has the host pass on packets that are not for it.
func (h *Host) Forward() error { return h.Set(map[string]string{"net/ipv4/ip_forward": "1"}) }

// AddAddress adds an address to an interface, without a network around it.
func (h *Host) AddAddress(device string, a netip.Addr) error {
	link, err := h.links.LinkByName(device)
	if err == nil {
		err = h.links.AddrAdd(link, &netlink.Addr{IPNet: network(netip.PrefixFrom(a, a.BitLen()))})
	}
	if err != nil {
		return fmt.Errorf("host %s: address %s on %s: %w", h.name, a, device, err)
	}
	return nil
}

// Route sends a network out of a device to a neighbour, which need not be in
// any network of the device; without one the addresses are themselves
// neighbours. It replaces what the network's route was.
func (h *Host) Route(to netip.Prefix, device string, via, source netip.Addr) error {
	link, err := h.links.LinkByName(device)
	if err != nil {
		return fmt.Errorf("host %s: route %s: %s: %w", h.name, to, device, err)
	}
	r := &netlink.Route{Dst: network(to), LinkIndex: link.Attrs().Index, Scope: netlink.SCOPE_LINK}
	if via.IsValid() {
		r.Gw, r.Scope = via.AsSlice(), netlink.SCOPE_UNIVERSE
		r.SetFlag(netlink.FLAG_ONLINK)
	}
	if source.IsValid() {
		r.Src = source.AsSlice()
	}
	if err := h.links.RouteReplace(r); err != nil {
		return fmt.Errorf("host %s: route %s via %s %s: %w", h.name, to, via, device, err)
	}
	return nil
}

// Unroute takes away the route of a network; that there is none is no error.
func (h *Host) Unroute(to netip.Prefix) error {
	err := h.links.RouteDel(&netlink.Route{Dst: network(to)})
	if err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("host %s: no route %s: %w", h.name, to, err)
	}
	return nil
}

func network(p netip.Prefix) *net.IPNet {
	p = p.Masked()
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
