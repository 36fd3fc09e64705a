package api

import (
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/scloudstack/pharos/internal/config"
)

// TestConnectionsAreBounded: callers of whom nothing is known can't take the
// files that the rest of the node needs.
func TestConnectionsAreBounded(t *testing.T) {
	x := serveTLS(t)
	at := x.s.Addrs()[0].String()
	var open []net.Conn
	defer func() {
		for _, c := range open {
			c.Close()
		}
	}()
	for range maxConnsSource + 3 {
		c, err := net.Dial("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
	}
	for i, c := range open[maxConnsSource:] {
		if err := c.SetReadDeadline(time.Now().Add(3 * time.Second)); err != nil { // before the others' header timeout
			t.Fatal(err)
		}
		if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF && !strings.Contains(err.Error(), "reset") {
			t.Errorf("connection %d of one source: %v, want it closed", maxConnsSource+i+1, err)
		}
	}
	other := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 9)}}
	c, err := other.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	open = append(open, c)
	if err := c.SetReadDeadline(time.Now().Add(300 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); err == io.EOF {
		t.Error("another source is shut out")
	}
	for _, c := range open {
		c.Close()
	}
	reader := x.client(t, readToken, "")
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, err := reader.Status(deadline(t)); err == nil {
			break
		} else if time.Now().After(end) {
			t.Fatalf("places are not given back: %v", err)
		}
	}
}

// TestAuthorityTakenOut: a connection that stays open does not outlive the
// authority of its certificate.
func TestAuthorityTakenOut(t *testing.T) {
	x := serveTLS(t)
	c := x.client(t, "", "alice")
	if _, err := c.Status(deadline(t)); err != nil {
		t.Fatal(err)
	}
	cfg := x.cfg
	cfg.TLS.ClientCAFile = newAuthority(t).file
	if err := x.s.Reconfigure(cfg); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Status(deadline(t)); statusOf(err) != 401 {
		t.Errorf("got %v, want 401", err)
	}
}

func TestFIFOsAreRefused(t *testing.T) {
	x := serveTLS(t)
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, set := range map[string]func(*config.API){
		"tokens_file":    func(c *config.API) { c.TokensFile = fifo },
		"cert_file":      func(c *config.API) { c.TLS.CertFile = fifo },
		"key_file":       func(c *config.API) { c.TLS.KeyFile = fifo },
		"client_ca_file": func(c *config.API) { c.TLS.ClientCAFile = fifo },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := x.cfg
			set(&cfg)
			done := make(chan error, 1)
			go func() { done <- x.s.Reconfigure(cfg) }()
			select {
			case err := <-done:
				if err == nil || !strings.Contains(err.Error(), "regular file") {
					t.Errorf("got %v", err)
				}
			case <-time.After(10 * time.Second):
				t.Fatal("it waits for a writer")
			}
		})
	}
}
