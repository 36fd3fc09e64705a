package probe

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/scloudstack/pharos/internal/bounded"
)

// tlsFiles holds what the certificate files say, read once for all targets
// that name the same ones. Its zero value, with a log, is ready.
type tlsFiles struct {
	log *slog.Logger
	mu  sync.Mutex
	set map[TLS]*tlsEntry // by the settings without ServerName
}

// tlsEntry is the base of all TLS configurations with the same settings. It is
// replaced when a file changed; a file that can't be read changes nothing.
type tlsEntry struct {
	config atomic.Pointer[tls.Config]
	stamps [3]fileStamp // guarded by tlsFiles.mu
}

type fileStamp struct {
	size int64
	time time.Time
}

func (f *tlsFiles) get(t TLS) (*tlsEntry, error) {
	t.ServerName = ""
	f.mu.Lock()
	defer f.mu.Unlock()
	if e := f.set[t]; e != nil {
		return e, nil
	}
	e := &tlsEntry{stamps: t.stamps()}
	config, err := t.load()
	if err != nil {
		return nil, err
	}
	e.config.Store(config)
	if f.set == nil {
		f.set = map[TLS]*tlsEntry{}
	}
	f.set[t] = e
	return e, nil
}

// refresh reads the files that changed.
func (f *tlsFiles) refresh() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for t, e := range f.set {
		stamps := t.stamps()
		if stamps == e.stamps {
			continue
		}
		config, err := t.load()
		if err != nil {
			f.log.Error("probes go on with the certificates read before", "error", err)
			continue
		}
		e.stamps = stamps
		e.config.Store(config)
	}
}

func (t TLS) stamps() [3]fileStamp {
	var s [3]fileStamp
	for i, path := range []string{t.CAFile, t.CertFile, t.KeyFile} {
		if path == "" {
			continue
		}
		if info, err := os.Stat(path); err == nil {
			s[i] = fileStamp{info.Size(), info.ModTime()}
		}
	}
	return s
}

func (t TLS) load() (*tls.Config, error) {
	pool, err := loadPool(t.CAFile)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{
		RootCAs:            pool,
		InsecureSkipVerify: t.SkipVerify,
		MinVersion:         tls.VersionTLS12,
	}
	if t.CertFile != "" {
		cert, err := loadPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{cert}
	}
	return config, nil
}

// loadPool reads the CAs in a PEM file; nil means the system's.
func loadPool(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil
	}
	pem, err := bounded.ReadFile(path, maxFile, 0)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s: no certificate in it, expected PEM", path)
	}
	return pool, nil
}

func loadPair(certFile, keyFile string) (tls.Certificate, error) {
	cert, err := bounded.ReadFile(certFile, maxFile, 0)
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := bounded.ReadFile(keyFile, maxFile, 0)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(cert, key)
}

// maxFile is how large a file of certificates or a key may be, in bytes.
const maxFile = 4 << 20

// tlsClient makes the TLS configuration of one target's connections. Sessions
// are resumed within the target only: another address of the same name may be
// another machine.
type tlsClient struct {
	entry *tlsEntry
	name  string
	alpn  []string

	mu     sync.Mutex
	base   *tls.Config // that config was made of
	config *tls.Config
}

func newTLSClient(t TLS, name string, files *tlsFiles, alpn ...string) (*tlsClient, error) {
	entry, err := files.get(t)
	if err != nil {
		return nil, err
	}
	if t.ServerName != "" {
		name = t.ServerName
	}
	return &tlsClient{entry: entry, name: name, alpn: alpn}, nil
}

func (c *tlsClient) get() *tls.Config {
	base := c.entry.config.Load()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.base != base {
		c.base = base
		c.config = base.Clone()
		c.config.ServerName = c.name
		c.config.NextProtos = c.alpn
		c.config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	}
	return c.config
}

// elsewhere is the configuration for another host, to which a redirect led: it
// is not shown the client certificate.
func (c *tlsClient) elsewhere(name string) *tls.Config {
	config := c.entry.config.Load().Clone()
	config.Certificates = nil
	config.ServerName = name
	config.NextProtos = c.alpn
	return config
}

// tlsRefusal puts into words why TLS failed, where that is what the other
// side's answer says; empty for any other error.
func tlsRefusal(err error) string {
	var (
		unverified *tls.CertificateVerificationError
		invalid    x509.CertificateInvalidError
		header     tls.RecordHeaderError
		handshake  *handshakeError
		alert      *net.OpError
	)
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "certificate expired or not yet valid"
	case errors.As(err, &unverified):
		return strings.TrimPrefix(unverified.Err.Error(), "x509: ")
	case errors.As(err, &header):
		return "no TLS spoken"
	case errors.As(err, &alert):
		return strings.TrimPrefix(alert.Err.Error(), "tls: ")
	case errors.As(err, &handshake) && !fromNetwork(err):
		return strings.TrimPrefix(handshake.err.Error(), "tls: ")
	}
	return ""
}

// handshakeError is an error of a TLS handshake, not of connecting.
type handshakeError struct{ err error }

func (e *handshakeError) Error() string { return "TLS handshake: " + e.err.Error() }
func (e *handshakeError) Unwrap() error { return e.err }
