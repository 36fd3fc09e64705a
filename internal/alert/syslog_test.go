package alert

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/scloudstack/pharos/internal/config"
)

// hear reads the next datagram.
func hear(t *testing.T, c net.PacketConn) string {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 8192)
	n, _, err := c.ReadFrom(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

func listen(t *testing.T, network, address string) net.PacketConn {
	t.Helper()
	c, err := net.ListenPacket(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestSyslogOverUDP(t *testing.T) {
	c := listen(t, "udp", "127.0.0.1:0")
	r := newRig(t, config.Alarms{Syslog: c.LocalAddr().String()}).run()
	cleared := fire
	cleared.State = Cleared
	r.Send(fire)
	r.Send(cleared)
	for _, want := range []string{
		fmt.Sprintf("<27>1 2026-11-23T17:00:00.000000Z edge-a1 pharos %d alarm - "+
			"[prod] all-down/shop: none of its endpoints is up → pharos override set --service shop --site remote", os.Getpid()),
		fmt.Sprintf("<29>1 2026-11-23T17:00:00.000000Z edge-a1 pharos %d alarm - [prod] cleared: all-down/shop: none of its endpoints is up", os.Getpid()),
	} {
		if got := hear(t, c); got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
	if d := r.delivery(); d.Err != nil || d.Receiver != "syslog" {
		t.Errorf("got %+v", d)
	}
}

// TestSyslogSocketThatIsMadeAnew is a local daemon that is started again.
func TestSyslogSocketThatIsMadeAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	s := NewSyslog("local", "edge-a1")
	if s.network != "unixgram" || s.address != "/dev/log" {
		t.Errorf("local is %s %s", s.network, s.address)
	}
	s.address = path
	defer s.Close()
	m := Message{Facility: FacilityLogAudit, Severity: SeverityInfo, Time: came, ID: "audit", Text: "first"}
	if err := s.Write(context.Background(), m); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("nobody listens: %v", err)
	}
	for _, text := range []string{"one", "two"} {
		c := listen(t, "unixgram", path)
		m.Text = text
		if err := s.Write(context.Background(), m); err != nil {
			t.Fatal(err)
		}
		if got := hear(t, c); !strings.HasPrefix(got, "<110>1 ") || !strings.HasSuffix(got, " audit - "+text) {
			t.Errorf("got %q", got)
		}
		_ = c.Close()
		_ = os.Remove(path)
	}
}

func TestSyslogMessageIsBoundedAndOfOneLine(t *testing.T) {
	for _, tt := range []struct {
		name, host, id, text, want string
	}{
		{"no name", "", "", "x", "<14>1 2026-11-23T17:00:00.000000Z - pharos 1 - - x"},
		{"a forged line", "a b\n", "al arm", "one\n<0>1 two\x00", "<14>1 2026-11-23T17:00:00.000000Z a_b_ pharos 1 al_arm - one\\u000a<0>1 two\\u0000"},
		{"a character that turns others round", "h", "i", "a\u202eb", "<14>1 2026-11-23T17:00:00.000000Z h pharos 1 i - a\\u202eb"},
		{"bad UTF-8", "h", "i", "\xff", "<14>1 2026-11-23T17:00:00.000000Z h pharos 1 i - \\xff"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := Message{Facility: 1, Severity: SeverityInfo, Time: came, ID: tt.id, Text: tt.text}
			if got := string(m.format(field(tt.host, 255) + " pharos 1")); got != tt.want {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
	for pad := range 4 { // so that each byte of the character meets the end
		m := Message{Time: came, Text: strings.Repeat("x", pad) + strings.Repeat("→", 2000)}
		got := string(m.format("h pharos 1"))
		if len(got) > maxMessage || len(got) < maxMessage-6 || !utf8.ValidString(got) || !strings.HasSuffix(got, "→...") {
			t.Errorf("%d bytes, ends with %q", len(got), got[len(got)-8:])
		}
	}
	if got := field(strings.Repeat("x", 300), 255); len(got) != 255 {
		t.Errorf("a field of %d", len(got))
	}
}
