package api

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/scloudstack/pharos/internal/config"
	"github.com/scloudstack/pharos/policy"
)

const (
	readToken    = "r-0123456789abcdefghij"
	operateToken = "o-0123456789abcdefghij"
)

// secured is a server over TLS, with everything that a client needs.
type secured struct {
	*authority
	cfg config.API
	s   *Server
	b   *recorded
}

func serveTLS(t *testing.T) *secured {
	t.Helper()
	a := newAuthority(t)
	cert, key := a.issue(t, "edge-a1")
	tokens := write(t, filepath.Join(a.dir, "tokens"), fmt.Sprintf("# who\n%s read grafana\n\n%s operate deploy # ours\n", readToken, operateToken))
	cfg := config.API{
		Socket: filepath.Join(shortDir(t), SocketName), Listen: []netip.AddrPort{anyPort}, TokensFile: tokens,
		TLS:     config.TLS{CertFile: cert, KeyFile: key, ClientCAFile: a.file},
		Clients: config.Grants{Read: []string{"carol"}, Admin: []string{"alice"}},
	}
	b := &recorded{}
	return &secured{authority: a, cfg: cfg, s: serve(t, cfg, b), b: b}
}

// client speaks to the server with a token, or with a certificate for a name.
func (x *secured) client(t *testing.T, token, name string) *Client {
	t.Helper()
	r := Remote{URL: "https://" + x.s.Addrs()[0].String(), CAFile: x.file}
	if token != "" {
		r.TokenFile = write(t, filepath.Join(t.TempDir(), "token"), token+"\n")
	}
	if name != "" {
		r.CertFile, r.KeyFile = x.issue(t, name)
	}
	c, err := NewRemoteClient(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestRolesOverTLS(t *testing.T) {
	x := serveTLS(t)
	drain := OrderRequest{Kind: policy.KindDrain, Key: "site/city-a", Reason: "test"}
	for _, tt := range []struct {
		test, token, name string
		read              int // status of reading
		order             int // status of an order
		author            string
	}{
		{"a token that reads", readToken, "", 200, 403, ""},
		{"a token that operates", operateToken, "", 200, 200, "token:deploy"},
		{"an unknown token", "x-0123456789abcdefghij", "", 401, 401, ""},
		{"half a token", operateToken[:20], "", 401, 401, ""},
		{"a certificate that reads", "", "carol", 200, 403, ""},
		{"a certificate that may all", "", "alice", 200, 200, "cert:alice"},
		{"a certificate of no role", "", "mallory", 403, 403, ""},
		{"nothing at all", "", "", 401, 401, ""},
		{"a bad token does not fall back to the certificate", "x-0123456789abcdefghij", "alice", 401, 401, ""},
	} {
		t.Run(tt.test, func(t *testing.T) {
			c := x.client(t, tt.token, tt.name)
			_, err := c.Status(deadline(t))
			if got := statusOf(err); got != tt.read {
				t.Errorf("status: %d (%v), want %d", got, err, tt.read)
			}
			res, err := c.Order(deadline(t), drain)
			if got := statusOf(err); got != tt.order || res.Author != tt.author {
				t.Errorf("order: %d (%v) by %q, want %d by %q", got, err, res.Author, tt.order, tt.author)
			}
		})
	}
}

// statusOf is the HTTP status behind a client's error; 200 for none.
func statusOf(err error) int {
	var e *Error
	switch {
	case err == nil:
		return 200
	case errors.As(err, &e):
		return e.Status
	default:
		return 0
	}
}

func TestCertificateOfAnotherAuthority(t *testing.T) {
	x := serveTLS(t)
	other := newAuthority(t)
	cert, key := other.issue(t, "alice")
	c, err := NewRemoteClient(Remote{URL: "https://" + x.s.Addrs()[0].String(), CAFile: x.file, CertFile: cert, KeyFile: key})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var gone *Unreachable
	if _, err := c.Status(deadline(t)); !errors.As(err, &gone) {
		t.Errorf("got %v, want a broken handshake", err)
	}
}

func TestServerOfAnotherAuthority(t *testing.T) {
	x := serveTLS(t)
	c, err := NewRemoteClient(Remote{URL: "https://" + x.s.Addrs()[0].String(), CAFile: newAuthority(t).file})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Status(deadline(t)); err == nil || !strings.Contains(err.Error(), "unknown authority") {
		t.Errorf("got %v", err)
	}
}

func TestReconfigure(t *testing.T) {
	x := serveTLS(t)
	first := x.s.Addrs()[0]
	reader := x.client(t, readToken, "")
	if _, err := reader.Status(deadline(t)); err != nil {
		t.Fatal(err)
	}

	t.Run("a bad file changes nothing", func(t *testing.T) {
		bad := x.cfg
		bad.TokensFile = write(t, filepath.Join(t.TempDir(), "tokens"), "short read x\n")
		if err := x.s.Reconfigure(bad); err == nil || !strings.Contains(err.Error(), "tokens:1") {
			t.Fatalf("got %v", err)
		}
		if _, err := reader.Status(deadline(t)); err != nil {
			t.Error(err)
		}
	})
	t.Run("a listener that can't open changes nothing", func(t *testing.T) {
		bad := x.cfg
		bad.Listen = append(bad.Listen[:1:1], netip.MustParseAddrPort("192.0.2.1:1"))
		if err := x.s.Reconfigure(bad); err == nil {
			t.Fatal("taken")
		}
		if got := x.s.Addrs(); len(got) != 1 || got[0] != first {
			t.Errorf("listens on %v", got)
		}
	})
	t.Run("listeners come, stay and go", func(t *testing.T) {
		more := x.cfg
		second := netip.MustParseAddrPort("127.0.0.2:0")
		more.Listen = []netip.AddrPort{anyPort, second}
		if err := x.s.Reconfigure(more); err != nil {
			t.Fatal(err)
		}
		if got := x.s.Addrs(); len(got) != 2 || got[0] != first {
			t.Fatalf("listens on %v, want %v to stay", got, first)
		}
		if err := x.s.Reconfigure(x.cfg); err != nil {
			t.Fatal(err)
		}
		if got := x.s.Addrs(); len(got) != 1 || got[0] != first {
			t.Errorf("listens on %v", got)
		}
	})
	t.Run("a token taken out is refused at once", func(t *testing.T) {
		write(t, x.cfg.TokensFile, operateToken+" operate deploy\n")
		if err := x.s.Reconfigure(x.cfg); err != nil {
			t.Fatal(err)
		}
		if _, err := reader.Status(deadline(t)); statusOf(err) != http.StatusUnauthorized {
			t.Errorf("got %v", err)
		}
	})
}

// tokensError is what a server says of a tokens file.
func tokensError(path string) error {
	_, err := readAccess(config.API{TokensFile: path})
	return err
}

// Every line that is wrong is told, not the first alone.
func TestTokensFileTellsAll(t *testing.T) {
	path := write(t, filepath.Join(t.TempDir(), "tokens"), "hunter2 read x\n"+readToken+" read y\n"+operateToken+" root z\n")
	err := tokensError(path)
	if err == nil || !strings.Contains(err.Error(), "tokens:1: the token") || !strings.Contains(err.Error(), "tokens:3: unknown role") {
		t.Errorf("got %v", err)
	}
}

func TestTokensFile(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"good", "# none\n\n  " + readToken + "\tread  x # comment\n", ""},
		{"too few words", readToken + " read\n", "tokens:1: 2 words: expected TOKEN ROLE NAME"},
		{"a name that is not printable", readToken + " read x\x1b[2J\n", `tokens:1: the name "x\x1b[2J" has characters that are not printable`},
		{"too short", "\nhunter2 read x\n", "tokens:2: the token has 7 characters"},
		{"unknown role", readToken + " root x\n", `unknown role "root": expected read, operate, approve, admin`},
		{"twice", readToken + " read x\n" + readToken + " admin y\n", "tokens:2: the token or the name y is there already"},
		{"one name twice", readToken + " read x\n" + operateToken + " admin x\n", "tokens:2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := tokensError(write(t, filepath.Join(t.TempDir(), "tokens"), tt.text))
			switch {
			case tt.want == "" && err != nil:
				t.Error(err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got %v, want %q", err, tt.want)
			case err != nil && (strings.Contains(err.Error(), readToken) || strings.Contains(err.Error(), "hunter2")):
				t.Errorf("the error shows a token: %v", err)
			}
		})
	}
	t.Run("open to others", func(t *testing.T) {
		path := write(t, filepath.Join(t.TempDir(), "tokens"), readToken+" read x\n")
		for _, mode := range []os.FileMode{0o644, 0o620, 0o604} {
			if err := os.Chmod(path, mode); err != nil {
				t.Fatal(err)
			}
			if err := tokensError(path); err == nil || !strings.Contains(err.Error(), "expected 0640 or stricter") {
				t.Errorf("mode %o: %v", mode, err)
			}
		}
	})
}
