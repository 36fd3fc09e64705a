package node

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// notifier tells the service manager how the node does, as sd_notify(3). The
// zero value tells nobody.
type notifier struct {
	addr     *net.UnixAddr
	watchdog time.Duration // 0: none is asked for
	log      *slog.Logger
}

// newNotifier reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID, and takes
// them out of the environment, so that no child speaks for the node.
func newNotifier(log *slog.Logger) notifier {
	n := notifier{log: log}
	path := os.Getenv("NOTIFY_SOCKET")
	usec, uerr := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64)
	pid := os.Getenv("WATCHDOG_PID")
	for _, k := range []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} {
		os.Unsetenv(k)
	}
	if path == "" || (path[0] != '/' && path[0] != '@') {
		return n
	}
	n.addr = &net.UnixAddr{Name: path, Net: "unixgram"}
	if uerr == nil && usec > 0 && (pid == "" || pid == strconv.Itoa(os.Getpid())) {
		n.watchdog = time.Duration(usec) * time.Microsecond
	}
	return n
}

func (n notifier) send(state string) {
	if n.addr == nil {
		return
	}
	if err := n.trySend(state); err != nil {
		n.log.Warn("the service manager was not told", "state", state, "error", err)
	}
}

func (n notifier) trySend(state string) error {
	c, err := net.DialUnix("unixgram", nil, n.addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	_, err = c.Write([]byte(state))
	return err
}

func (n notifier) ready(status string) { n.send("READY=1\nSTATUS=" + status) }
func (n notifier) stopping()           { n.send("STOPPING=1\nSTATUS=stopping") }

// reloading starts a reload; ready ends it. Type=notify-reload needs the
// monotonic time (sd_notify(3)).
func (n notifier) reloading() {
	if n.addr == nil {
		return
	}
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		n.log.Warn("no monotonic clock", "error", err)
		return
	}
	n.send(fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d", ts.Nano()/1000))
}

// watch tells the watchdog that the node lives, twice in each of its periods,
// as long as alive answers in time. It returns when ctx ends.
func (n notifier) watch(ctx context.Context, alive func(context.Context) error) error {
	if n.watchdog == 0 {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(n.watchdog / 2)
	defer tick.Stop()
	for {
		actx, cancel := context.WithTimeout(ctx, n.watchdog/2)
		err := alive(actx)
		cancel()
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			n.log.Error("the node's loop does not answer: the watchdog is not told that it lives", "error", err)
		default:
			n.send("WATCHDOG=1")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
