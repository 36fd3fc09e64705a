package node

import (
	"fmt"
	"log/slog"
	"slices"

	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/cap"
)

// neededCaps lists the capabilities that a node makes use of, where it has them:
//
//	CAP_NET_BIND_SERVICE  to listen on port 53, also on addresses that a reload adds
//	CAP_NET_RAW           for icmp checks, where the kernel gives no ping sockets
//	                      (net.ipv4.ping_group_range)
//
// None is needed for ports from 1024 up and without icmp checks.
func neededCaps(icmp bool) []cap.Value {
	need := []cap.Value{cap.NET_BIND_SERVICE}
	if icmp {
		need = append(need, cap.NET_RAW)
	}
	return need
}

// dropPrivileges gives up, in all threads and for good, every capability but
// those needed, and every way to gain one: the ambient and bounding sets, and
// set-user-ID programs (no_new_privs), which exec checks then can't use either.
// A node that was started by root stays root by name, without root's power over
// other users' files: it reads what root owns or everybody may read.
func dropPrivileges(need []cap.Value, log *slog.Logger) error {
	if _, err := cap.Prctlw(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("set no_new_privs: %w", err)
	}
	if err := cap.ResetAmbient(); err != nil {
		return fmt.Errorf("clear the ambient capabilities: %w", err)
	}
	have := cap.GetProc()
	if can, err := have.GetFlag(cap.Effective, cap.SETPCAP); err == nil && can {
		if err := dropBounding(need); err != nil {
			return err
		}
	}
	keep := cap.NewSet()
	var kept []string
	for _, v := range need {
		// One that the process lacks can't be kept, and need not: the port may be a high one.
		if has, err := have.GetFlag(cap.Permitted, v); err == nil && has {
			if err := keep.SetFlag(cap.Permitted, true, v); err != nil {
				return err
			}
			if err := keep.SetFlag(cap.Effective, true, v); err != nil {
				return err
			}
			kept = append(kept, v.String())
		}
	}
	if err := keep.SetProc(); err != nil {
		return fmt.Errorf("drop the capabilities: %w", err)
	}
	log.Info("capabilities dropped", "kept", kept)
	return nil
}

func dropBounding(need []cap.Value) error {
	for v := cap.Value(0); v < cap.MaxBits(); v++ {
		if slices.Contains(need, v) {
			continue
		}
		if has, err := cap.GetBound(v); err != nil || !has {
			continue
		}
		if err := cap.DropBound(v); err != nil {
			return fmt.Errorf("drop %s from the bounding set: %w", v, err)
		}
	}
	return nil
}
