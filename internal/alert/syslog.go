package alert

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/scloudstack/pharos/policy"
)

// Facilities and severities of RFC 5424, section 6.2.1.
const (
	FacilityDaemon   = 3
	FacilityLogAudit = 13

	SeverityError  = 3
	SeverityNotice = 5
	SeverityInfo   = 6
)

const (
	// maxMessage is what every receiver should take (RFC 5424, section 6.1).
	maxMessage  = 2048
	localSyslog = "/dev/log"
	syslogWrite = time.Second // that a full local socket is waited for
	appName     = "pharos"
)

// Message is one syslog message.
type Message struct {
	Facility int
	Severity int
	Time     time.Time
	ID       string // MSGID: the kind of message, such as alarm or audit
	Text     string
}

// Syslog writes messages as RFC 5424 has them, over UDP or to the local socket.
// It connects when it has to, and again when the connection broke. It may be used
// by many goroutines.
type Syslog struct {
	network, address string
	head             string // HOSTNAME APP-NAME PROCID

	mu   sync.Mutex
	conn net.Conn // guarded by mu; nil: not connected
}

// NewSyslog writes to "local", or to an address and UDP port. host is the
// node's name.
func NewSyslog(where, host string) *Syslog {
	s := &Syslog{network: "udp", address: where}
	if where == "local" {
		s.network, s.address = "unixgram", localSyslog
	}
	s.head = field(host, 255) + " " + appName + " " + strconv.Itoa(os.Getpid())
	return s
}

// Close gives the connection back; a Write connects again.
func (s *Syslog) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop()
}

func (s *Syslog) drop() {
	if s.conn != nil {
		_ = s.conn.Close()
		s.conn = nil
	}
}

// Write sends a message. Over UDP nobody says whether it arrived: only the error
// of the message before, if any, is heard of, and that message is lost.
func (s *Syslog) Write(ctx context.Context, m Message) error {
	packet := m.format(s.head)
	s.mu.Lock()
	defer s.mu.Unlock()
	fresh := s.conn == nil
	err := s.write(ctx, packet)
	if err != nil && !fresh { // a receiver that was started again has a new socket
		err = s.write(ctx, packet)
	}
	if err != nil {
		return fmt.Errorf("syslog at %s: %w", s.address, err)
	}
	return nil
}

func (s *Syslog) write(ctx context.Context, packet []byte) error {
	if s.conn == nil {
		conn, err := (&net.Dialer{}).DialContext(ctx, s.network, s.address)
		if err != nil {
			return err
		}
		s.conn = conn
	}
	err := s.conn.SetWriteDeadline(time.Now().Add(syslogWrite))
	if err == nil {
		_, err = s.conn.Write(packet)
	}
	if err != nil {
		s.drop()
	}
	return err
}

// format is the message on the wire (RFC 5424, section 6), without structured
// data. The text is UTF-8 without a BOM, which many receivers would show, and no character
// of it lets one message look like two.
func (m Message) format(head string) []byte {
	b := make([]byte, 0, 256)
	b = append(b, '<')
	b = strconv.AppendInt(b, int64(m.Facility*8+m.Severity), 10)
	b = append(b, ">1 "...)
	b = m.Time.UTC().AppendFormat(b, "2006-01-02T15:04:05.000000Z")
	b = append(b, ' ')
	b = append(b, head...)
	b = append(b, ' ')
	b = append(b, field(m.ID, 32)...)
	b = append(b, " - "...)
	b = append(b, policy.Printable(m.Text)...)
	return cut(b)
}

// field is a header's value: visible ASCII of a bounded length, "-" for none.
func field(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return '_'
		}
		return r
	}, s)
	if s == "" {
		return "-"
	}
	return s[:min(len(s), most)]
}

// cut bounds a packet, at the end of a character, and marks what is missing.
func cut(b []byte) []byte {
	const mark = "..."
	if len(b) <= maxMessage {
		return b
	}
	end := maxMessage - len(mark)
	for !utf8.RuneStart(b[end]) {
		end--
	}
	return append(b[:end], mark...)
}

// syslogReceiver sends events as messages.
type syslogReceiver struct{ to *Syslog }

func (r syslogReceiver) close() { r.to.Close() }

func (r syslogReceiver) send(ctx context.Context, e Event) error {
	m := Message{Facility: FacilityDaemon, Severity: SeverityError, Time: e.At, ID: "alarm", Text: e.Text()}
	if e.State == Cleared {
		m.Severity = SeverityNotice
	}
	return r.to.Write(ctx, m)
}
