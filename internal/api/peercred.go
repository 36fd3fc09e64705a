package api

import (
	"fmt"
	"net"
	"os/user"
	"slices"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// peer is who opened a Unix socket, as the kernel noted it at that time.
type peer struct {
	uid    uint32
	groups []uint32 // the primary group and all others
}

// peerOf asks the kernel who is at the other end.
func peerOf(c *net.UnixConn) (peer, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return peer{}, fmt.Errorf("peer credentials: %w", err)
	}
	var p peer
	var credErr error
	if err := raw.Control(func(fd uintptr) { p, credErr = peerOfFD(int(fd)) }); err != nil {
		return peer{}, fmt.Errorf("peer credentials: %w", err)
	}
	return p, credErr
}

func peerOfFD(fd int) (peer, error) {
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return peer{}, fmt.Errorf("peer credentials: SO_PEERCRED: %w", err)
	}
	groups, err := peerGroups(fd)
	if err != nil {
		return peer{}, fmt.Errorf("peer credentials: SO_PEERGROUPS: %w", err)
	}
	return peer{uid: cred.Uid, groups: append(groups, cred.Gid)}, nil
}

// peerGroups are the supplementary groups of the process itself: what the
// kernel would judge its file access by, whichever directory named them.
func peerGroups(fd int) ([]uint32, error) {
	buf := make([]uint32, 64)
	for {
		size := uint32(len(buf) * 4)
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(&buf[0])), uintptr(unsafe.Pointer(&size)), 0)
		switch errno {
		case 0:
			return buf[:size/4], nil
		case unix.ERANGE: // size now says how much it takes
			buf = make([]uint32, size/4)
		default:
			return nil, errno
		}
	}
}

// userName is the login name of a user id, or its number where it has none.
func userName(uid uint32) string {
	id := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return "uid:" + id
}

// inGroup tells whether the peer is in the group of that name or number. A
// group that does not exist has nobody in it.
func (p peer) inGroup(name string) bool {
	id := name
	if g, err := user.LookupGroup(name); err == nil {
		id = g.Gid
	}
	gid, err := strconv.ParseUint(id, 10, 32)
	return err == nil && slices.Contains(p.groups, uint32(gid))
}
