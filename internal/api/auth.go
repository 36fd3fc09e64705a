package api

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/scloudstack/pharos/internal/bounded"
	"github.com/scloudstack/pharos/internal/config"
)

// access is who may do what: read once from the configuration and its files,
// never changed, replaced as a whole by a reload.
type access struct {
	uid     uint32        // whom the node runs as
	groups  config.Grants // Unix groups
	clients config.Grants // common names of certificates
	tokens  []token
	tls     *tls.Config // nil: no TLS listener
}

// FileErrors is everything that is wrong with the files that the settings name.
type FileErrors struct {
	Found  config.Errors // in the order of the settings
	Absent config.Errors // those of them that say that a file is not there, or not for this user
}

func (e *FileErrors) Error() string { return e.Found.Error() }

// Unwrap gives the problems with their places.
func (e *FileErrors) Unwrap() error { return e.Found }

// files reads the files that the settings name, and collects what is wrong.
type files struct {
	cfg   config.API
	found FileErrors
}

func (f *files) fail(key string, err error) {
	p := f.cfg.FileProblem(key, err.Error())
	f.found.Found = append(f.found.Found, p)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		f.found.Absent = append(f.found.Absent, p)
	}
}

// read is the content of the file that a key names; nil: it can't be read.
func (f *files) read(key, path string) []byte {
	data, err := bounded.ReadFile(path, maxFile, 0)
	if err != nil {
		f.fail(key, err)
		return nil
	}
	return data
}

// readAccess reads the files that the settings name. It refuses a setting that
// would leave a listener open to nobody. Its error is *FileErrors.
func readAccess(cfg config.API) (*access, error) {
	a := &access{uid: uint32(os.Geteuid()), groups: cfg.Groups, clients: cfg.Clients}
	f := files{cfg: cfg}
	if len(cfg.Listen) > 0 {
		a.tls = f.tls()
	}
	if cfg.TokensFile != "" {
		a.tokens = f.tokens()
	}
	if len(f.found.Found) > 0 {
		return nil, &f.found
	}
	return a, nil
}

func (f *files) tls() *tls.Config {
	t := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
	set := f.cfg.TLS
	certPEM, keyPEM := f.read("api.tls.cert_file", set.CertFile), f.read("api.tls.key_file", set.KeyFile)
	if certPEM != nil && keyPEM != nil {
		cert, err := tls.X509KeyPair(certPEM, keyPEM)
		if err != nil {
			f.fail("api.tls.cert_file", fmt.Errorf("%s with key %s: %w", set.CertFile, set.KeyFile, err))
		}
		t.Certificates = []tls.Certificate{cert}
	}
	if set.ClientCAFile == "" {
		return t
	}
	if pem := f.read("api.tls.client_ca_file", set.ClientCAFile); pem != nil {
		t.ClientCAs = x509.NewCertPool()
		if !t.ClientCAs.AppendCertsFromPEM(pem) {
			f.fail("api.tls.client_ca_file", fmt.Errorf("%s: no certificate in it", set.ClientCAFile))
		}
	}
	t.ClientAuth = tls.VerifyClientCertIfGiven // a token may come instead
	return t
}

// maxFile is how large a file that the settings name may be, in bytes.
const maxFile = 4 << 20

// granted is the highest role that the grants give to whom is chosen by the
// function, and the name that gave it.
func granted(g config.Grants, is func(name string) bool) (Role, string) {
	for role := Admin; role > NoRole; role-- {
		if i := slices.IndexFunc(names(g, role), is); i >= 0 {
			return role, names(g, role)[i]
		}
	}
	return NoRole, ""
}

func names(g config.Grants, role Role) []string {
	switch role {
	case Read:
		return g.Read
	case Operate:
		return g.Operate
	case Approve:
		return g.Approve
	case Admin:
		return g.Admin
	default:
		return nil
	}
}

// list is who has a role, for the text of a refusal.
func list(g config.Grants) string {
	var all []string
	for role := Read; role <= Admin; role++ {
		for _, name := range names(g, role) {
			all = append(all, name+" ("+role.String()+")")
		}
	}
	if len(all) == 0 {
		return "nobody"
	}
	return strings.Join(all, ", ")
}

// unixCaller judges by the kernel's word. Whoever can become the node's user,
// as root can, is that user.
func (a *access) unixCaller(p peer) Caller {
	c := Caller{Author: userName(p.uid)}
	switch {
	case p.uid == a.uid:
		c.Role, c.Why = Admin, "the node runs as this user"
	case p.uid == 0:
		c.Role, c.Why = Admin, "root"
	default:
		role, group := granted(a.groups, p.inGroup)
		if c.Role, c.Why = role, "group "+group; role == NoRole {
			c.Why = "the configuration gives one to the groups (api.groups): " + list(a.groups)
		}
	}
	return c
}

// tlsCaller judges by a bearer token, else by the client certificate.
func (a *access) tlsCaller(r *http.Request) (Caller, error) {
	if scheme, given, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "bearer") {
		t, ok := findToken(a.tokens, strings.TrimSpace(given))
		if !ok {
			return Caller{}, newError(http.StatusUnauthorized, "the token is not known here")
		}
		return Caller{Author: "token:" + t.name, Role: t.role, Why: "tokens_file"}, nil
	}
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return Caller{}, newError(http.StatusUnauthorized, "no client certificate and no bearer token was given")
	}
	if err := a.verify(r.TLS.PeerCertificates); err != nil {
		return Caller{}, newError(http.StatusUnauthorized, "the client certificate does not count any more: %s", err)
	}
	subject := r.TLS.VerifiedChains[0][0].Subject
	if subject.CommonName == "" {
		return Caller{}, newError(http.StatusUnauthorized, "the client certificate names nobody: it has no common name")
	}
	c := Caller{Author: "cert:" + subject.CommonName}
	c.Role, _ = granted(a.clients, func(name string) bool { return name == subject.CommonName })
	if c.Why = "api.clients"; c.Role == NoRole {
		c.Why = "the configuration gives none to this common name (api.clients)"
	}
	return c, nil
}

// verify judges a certificate again with each request: it was found good at the
// handshake, and the connection may have outlived it, or its authority here.
func (a *access) verify(chain []*x509.Certificate) error {
	if a.tls == nil || a.tls.ClientCAs == nil {
		return errors.New("the node takes none")
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		Roots: a.tls.ClientCAs, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	return err
}

// The keys of what a request's context carries.
type (
	peerKey   struct{} // of a connection: peer, or the error of asking for it
	callerKey struct{} // of a request: Caller, or the error of finding it out
)

// withPeer notes who opened a connection.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return ctx
	}
	p, err := peerOf(u)
	if err != nil {
		return context.WithValue(ctx, peerKey{}, err)
	}
	return context.WithValue(ctx, peerKey{}, p)
}

// identify finds the caller of a request out.
func (a *access) identify(r *http.Request) context.Context {
	var found any
	switch p := r.Context().Value(peerKey{}).(type) {
	case peer:
		found = a.unixCaller(p)
	case error:
		found = newError(http.StatusForbidden, "the kernel does not say who is calling: %s", p)
	default:
		c, err := a.tlsCaller(r)
		if found = c; err != nil {
			found = err
		}
	}
	return context.WithValue(r.Context(), callerKey{}, found)
}

// callerOf is the caller of the request that ctx belongs to.
func callerOf(ctx context.Context) (Caller, error) {
	switch v := ctx.Value(callerKey{}).(type) {
	case Caller:
		return v, nil
	case error:
		return Caller{}, v
	default:
		return Caller{}, errors.New("a request without a caller")
	}
}

// CheckFiles says what is wrong with the files that the settings name: tokens,
// certificates, keys. Nothing: a server would take them.
func CheckFiles(cfg config.API) FileErrors {
	_, err := readAccess(cfg)
	var found *FileErrors
	if errors.As(err, &found) {
		return *found
	}
	return FileErrors{}
}
