package probe

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/netip"
	"strings"
	"time"

	"github.com/scloudstack/pharos/policy"
)

// What a target gets for settings that are zero.
const (
	DefaultInterval = time.Second
	DefaultTimeout  = 500 * time.Millisecond
	DefaultAttempts = 3
)

// Target is one check of one address.
type Target struct {
	ID      policy.TargetID // names the target in observations: Hash of its settings
	Label   string          // for people and logs: "http 10.1.8.10"; no part of the identity
	Address netip.Addr
	Check   Check

	Interval time.Duration // from the start of one check to the start of the next; 0: DefaultInterval
	Timeout  time.Duration // of a check, all its attempts included; 0: DefaultTimeout
	Jitter   time.Duration // each check starts up to this much after its due time, at random
	Attempts int           // at most, within a check; 0: DefaultAttempts. Exec always has one
}

// Check says what is asked and what counts as success. Exactly one is set.
type Check struct {
	HTTP *HTTP `json:"http,omitempty"`
	TCP  *TCP  `json:"tcp,omitempty"`
	ICMP *ICMP `json:"icmp,omitempty"`
	DNS  *DNS  `json:"dns,omitempty"`
	Exec *Exec `json:"exec,omitempty"`
}

// HTTP asks for a page over HTTP/1.1 or HTTPS. The connection always goes to
// the target's address; it is kept for the next checks unless NewConnection
// says otherwise.
type HTTP struct {
	Method string `json:"method,omitempty"` // empty: GET
	// URL is a template: {address} stands for the target's address, in brackets
	// where it is IPv6. Any other host in it is only a name: it becomes Host and
	// SNI, and is not resolved.
	URL     string            `json:"url"`
	Host    string            `json:"host,omitempty"` // the Host header, and SNI unless TLS.ServerName is set; empty: from the URL
	Headers map[string]string `json:"headers,omitempty"`
	TLS     TLS               `json:"tls,omitzero"`     // of an https URL
	Expect  Statuses          `json:"expect,omitempty"` // empty: 200-299
	Body    string            `json:"body,omitempty"`   // regular expression that the first 64 KiB of the body must match
	// FollowRedirects is how many redirects are followed. 0: a redirect is judged
	// by Expect like any other answer.
	FollowRedirects int  `json:"follow_redirects,omitempty"`
	NewConnection   bool `json:"new_connection,omitempty"` // open a connection for each check
}

// TCP opens a connection. It succeeds when the connection (and the TLS
// handshake, and the expected answer) is there.
type TCP struct {
	Port   uint16 `json:"port"`
	TLS    *TLS   `json:"tls,omitempty"`    // nil: plain
	Send   string `json:"send,omitempty"`   // sent once connected
	Expect string `json:"expect,omitempty"` // regular expression that the first 64 KiB received must match; empty: nothing is awaited
}

// TLS is how the other side proves itself, and how the probe does.
type TLS struct {
	ServerName string `json:"server_name,omitempty"` // SNI, and the name that the certificate is checked for; empty: the host asked for, else the address
	CAFile     string `json:"ca_file,omitempty"`     // PEM; empty: the system's
	CertFile   string `json:"cert_file,omitempty"`   // client certificate, PEM, with KeyFile
	KeyFile    string `json:"key_file,omitempty"`
	SkipVerify bool   `json:"skip_verify,omitempty"` // takes any certificate
}

// ICMP sends an echo request. It uses a raw socket (CAP_NET_RAW) or, without
// that right, a ping socket (net.ipv4.ping_group_range).
type ICMP struct {
	Size int `json:"size,omitempty"` // octets of payload, 24 to 1400; 0: 32
}

// DNS asks the target a question.
type DNS struct {
	Port   uint16   `json:"port,omitempty"` // 0: 53
	Name   string   `json:"name"`           // "shop.example."; completed with the final dot
	Type   string   `json:"type,omitempty"` // empty: SOA
	TCP    bool     `json:"tcp,omitempty"`
	Rcode  string   `json:"rcode,omitempty"`  // empty: NOERROR
	Answer []string `json:"answer,omitempty"` // rdata, as in a zone file, each of which must be in the answer
}

// Exec runs a program. Exit status 0 is success. Its environment holds PATH
// and PHAROS_ADDRESS only; at the timeout its process group is killed.
type Exec struct {
	Argv []string `json:"argv"` // no shell; {address} in an argument stands for the address
}

// Kind returns "http", "tcp", "icmp", "dns" or "exec"; an HTTP check is "http"
// with TLS or without. Empty where nothing is set.
func (c Check) Kind() string {
	switch {
	case c.HTTP != nil:
		return "http"
	case c.TCP != nil:
		return "tcp"
	case c.ICMP != nil:
		return "icmp"
	case c.DNS != nil:
		return "dns"
	case c.Exec != nil:
		return "exec"
	}
	return ""
}

// dear says whether a check costs a TLS handshake, sometimes at least, or a process.
func (c Check) dear() bool {
	return c.Exec != nil || c.TCP != nil && c.TCP.TLS != nil || c.HTTP != nil && strings.HasPrefix(c.HTTP.URL, "https:")
}

// Hash returns a name for the target that is the same wherever its settings
// are the same: address, check and times, and the thresholds that its results
// are counted with. ID and Label are no part of it.
func (t Target) Hash(fall, rise int) policy.TargetID {
	t = t.withDefaults()
	settings, err := json.Marshal(struct {
		Address                   netip.Addr
		Check                     Check
		Interval, Timeout, Jitter time.Duration
		Attempts, Fall, Rise      int
	}{t.Address, t.Check, t.Interval, t.Timeout, t.Jitter, t.Attempts, fall, rise})
	if err != nil {
		panic(err) // plain structs of strings and numbers
	}
	sum := sha256.Sum256(settings)
	return policy.TargetID(hex.EncodeToString(sum[:12]))
}

func (t Target) withDefaults() Target {
	if t.Interval <= 0 {
		t.Interval = DefaultInterval
	}
	if t.Timeout <= 0 {
		t.Timeout = DefaultTimeout
	}
	if t.Attempts <= 0 {
		t.Attempts = DefaultAttempts
	}
	if t.Check.Exec != nil {
		t.Attempts = 1
	}
	t.Address = t.Address.Unmap()
	return t
}
