package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// listenNotify is a service manager's socket.
func listenNotify(t *testing.T, name string) *net.UnixConn {
	t.Helper()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func heard(t *testing.T, c *net.UnixConn) string {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 4096)
	n, err := c.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

func TestNotify(t *testing.T) {
	for _, name := range []string{filepath.Join(t.TempDir(), "n.sock"), fmt.Sprintf("@pharos-test-%d", os.Getpid())} {
		c := listenNotify(t, name)
		t.Setenv("NOTIFY_SOCKET", name)
		t.Setenv("WATCHDOG_USEC", "20000")
		t.Setenv("WATCHDOG_PID", fmt.Sprint(os.Getpid()))
		n := newNotifier(quiet(t))
		if os.Getenv("NOTIFY_SOCKET") != "" || os.Getenv("WATCHDOG_USEC") != "" {
			t.Error("children of the node inherit the service manager's socket")
		}
		n.ready("revision 1")
		if got := heard(t, c); got != "READY=1\nSTATUS=revision 1" {
			t.Errorf("heard %q", got)
		}
		n.reloading()
		if got := heard(t, c); !strings.HasPrefix(got, "RELOADING=1\nMONOTONIC_USEC=") {
			t.Errorf("heard %q", got)
		}
		n.stopping()
		if got := heard(t, c); !strings.HasPrefix(got, "STOPPING=1") {
			t.Errorf("heard %q", got)
		}

		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- n.watch(ctx, func(context.Context) error { return nil }) }()
		for range 3 {
			if got := heard(t, c); got != "WATCHDOG=1" {
				t.Errorf("heard %q", got)
			}
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// A node whose loop does not answer must not tell the watchdog that it lives.
func TestWatchdogIsNotToldOfADeadLoop(t *testing.T) {
	name := filepath.Join(t.TempDir(), "n.sock")
	c := listenNotify(t, name)
	t.Setenv("NOTIFY_SOCKET", name)
	t.Setenv("WATCHDOG_USEC", "20000")
	n := newNotifier(quiet(t))
	ctx, cancel := context.WithCancel(context.Background())
	asked := make(chan struct{}, 100)
	done := make(chan error, 1)
	go func() {
		done <- n.watch(ctx, func(context.Context) error {
			asked <- struct{}{}
			return errors.New("no answer")
		})
	}()
	for range 3 {
		<-asked
	}
	cancel()
	<-done
	n.send("END=1")
	if got := heard(t, c); got != "END=1" {
		t.Errorf("the watchdog heard %q", got)
	}
}

func TestNotifyNobody(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	n := newNotifier(quiet(t))
	n.ready("nobody listens")
	n.reloading()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := n.watch(ctx, func(context.Context) error { return errors.New("not asked") }); err != nil {
		t.Error(err)
	}
}
