package api

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/scloudstack/pharos/policy"
)

// maxAnswer bounds what a client keeps of one answer in memory.
const maxAnswer = 64 << 20

// Client speaks to one node. Its errors are *Error, where the node answered,
// or *Unreachable.
type Client struct {
	where string // for people
	base  string
	token string
	http  *http.Client
}

// Unreachable is the error of a node that did not answer.
type Unreachable struct {
	Where string // the socket's path or the URL
	Sent  bool   // a connection was there: the node may have done what it was asked for
	Err   error
}

func (u *Unreachable) Error() string {
	if u.Sent {
		return fmt.Sprintf("the connection to %s broke before the answer came: %s", u.Where, u.Err)
	}
	return fmt.Sprintf("no node answers at %s: %s", u.Where, u.Err)
}

func (u *Unreachable) Unwrap() error { return u.Err }

// NewSocketClient speaks to the node on a Unix socket.
func NewSocketClient(path string) *Client {
	dialer := &net.Dialer{}
	return &Client{where: path, base: "http://pharos", http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", path)
		},
	}}}
}

// Remote says how to reach a node over HTTPS, and as whom.
type Remote struct {
	URL       string // https://edge-a1.example:8443
	TokenFile string // holds the bearer token
	CertFile  string // client certificate, with KeyFile
	KeyFile   string
	CAFile    string // the node's authority; empty: the system's
}

// NewRemoteClient speaks to a node over HTTPS.
func NewRemoteClient(r Remote) (*Client, error) {
	u, err := url.Parse(r.URL)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("server %q: expected a URL like https://edge-a1.example:8443", r.URL)
	}
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	if r.CAFile != "" {
		pem, err := os.ReadFile(r.CAFile)
		if err != nil {
			return nil, fmt.Errorf("authority: %w", err)
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("authority %s: no certificate in it", r.CAFile)
		}
	}
	if (r.CertFile == "") != (r.KeyFile == "") {
		return nil, errors.New("a client certificate needs both its file and its key's file")
	}
	if r.CertFile != "" {
		cert, err := tls.LoadX509KeyPair(r.CertFile, r.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("client certificate: %w", err)
		}
		t.Certificates = []tls.Certificate{cert}
	}
	c := &Client{where: r.URL, base: strings.TrimSuffix(r.URL, "/"), http: &http.Client{Transport: &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: t, ForceAttemptHTTP2: true,
	}}}
	if r.TokenFile != "" {
		data, err := os.ReadFile(r.TokenFile)
		if err != nil {
			return nil, fmt.Errorf("token: %w", err)
		}
		if c.token = strings.TrimSpace(string(data)); c.token == "" {
			return nil, fmt.Errorf("token file %s is empty", r.TokenFile)
		}
	}
	return c, nil
}

// Where is the socket or URL that the client speaks to.
func (c *Client) Where() string { return c.where }

// Close gives idle connections back.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Version asks what is running.
func (c *Client) Version(ctx context.Context) (Version, error) {
	return get[Version](ctx, c, "/v1/version", nil)
}

// Status asks for the node at a glance.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return get[Status](ctx, c, "/v1/status", nil)
}

// Alarms asks for the standing alarms.
func (c *Client) Alarms(ctx context.Context) ([]policy.AlarmStatus, error) {
	return get[[]policy.AlarmStatus](ctx, c, "/v1/alarms", nil)
}

// Explain asks why a name answers what it answers to a client (the zero
// address is one of no group).
func (c *Client) Explain(ctx context.Context, name string, client netip.Addr) (policy.Explanation, error) {
	q := url.Values{"name": {name}}
	if client.IsValid() {
		q.Set("client", client.String())
	}
	return get[policy.Explanation](ctx, c, "/v1/explain", q)
}

// Diff asks which answers the configuration at an absolute path would change.
func (c *Client) Diff(ctx context.Context, config string) (DiffResult, error) {
	q := url.Values{}
	if config != "" {
		q.Set("config", config)
	}
	return get[DiffResult](ctx, c, "/v1/diff", q)
}

// Order gives an order.
func (c *Client) Order(ctx context.Context, r OrderRequest) (OrderResult, error) {
	return post[OrderResult](ctx, c, "/v1/orders", r)
}

// Cluster asks for the nodes as this one knows them.
func (c *Client) Cluster(ctx context.Context) (ClusterStatus, error) {
	return get[ClusterStatus](ctx, c, "/v1/cluster", nil)
}

// Audit asks who did what, the newest first.
func (c *Client) Audit(ctx context.Context, a AuditQuery) (AuditPage, error) {
	q := url.Values{"limit": {strconv.Itoa(a.Limit)}}
	if a.Node != "" {
		q.Set("node", string(a.Node))
	}
	if a.Kind != "" {
		q.Set("kind", a.Kind)
	}
	if !a.Since.IsZero() {
		q.Set("since", a.Since.UTC().Format(time.RFC3339Nano))
	}
	return get[AuditPage](ctx, c, "/v1/audit", q)
}

// VerifyAudit has the hash chains computed anew.
func (c *Client) VerifyAudit(ctx context.Context) (AuditVerdict, error) {
	return post[AuditVerdict](ctx, c, "/v1/audit/verify", nil)
}

// GossipKeys asks which node has which gossip key.
func (c *Client) GossipKeys(ctx context.Context) (GossipKeys, error) {
	return get[GossipKeys](ctx, c, "/v1/cluster/keys", nil)
}

// AddGossipKeys has every node read its keys_file again.
func (c *Client) AddGossipKeys(ctx context.Context) (GossipKeys, error) {
	return post[GossipKeys](ctx, c, "/v1/cluster/keys/add", nil)
}

// UseGossipKey has every node send with a key.
func (c *Client) UseGossipKey(ctx context.Context, fingerprint string) (GossipKeys, error) {
	return post[GossipKeys](ctx, c, "/v1/cluster/keys/use", map[string]string{"fingerprint": fingerprint})
}

// RemoveGossipKey has every node forget a key.
func (c *Client) RemoveGossipKey(ctx context.Context, fingerprint string) (GossipKeys, error) {
	return post[GossipKeys](ctx, c, "/v1/cluster/keys/remove", map[string]string{"fingerprint": fingerprint})
}

// Reload has the configuration loaded again.
func (c *Client) Reload(ctx context.Context, r ReloadRequest) (ReloadResult, error) {
	return post[ReloadResult](ctx, c, "/v1/reload", r)
}

// Confirm keeps a configuration that was loaded to be confirmed.
func (c *Client) Confirm(ctx context.Context) (ReloadResult, error) {
	return post[ReloadResult](ctx, c, "/v1/reload/confirm", nil)
}

// Zones asks what is served of each zone.
func (c *Client) Zones(ctx context.Context) ([]Zone, error) {
	return get[[]Zone](ctx, c, "/v1/zones", nil)
}

// ZoneDump copies a zone, as it is served, as a master file.
func (c *Client) ZoneDump(ctx context.Context, name string, w io.Writer) error {
	resp, err := c.do(ctx, http.MethodGet, "/v1/zones/"+url.PathEscape(name)+"/dump", nil, nil)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if _, err := io.Copy(w, resp.Body); err != nil {
		return fmt.Errorf("zone %s: cut off: %w", name, err)
	}
	return nil
}

// ZoneDiff asks what a zone's file would change.
func (c *Client) ZoneDiff(ctx context.Context, name string) (ZoneDiff, error) {
	return get[ZoneDiff](ctx, c, "/v1/zones/"+url.PathEscape(name)+"/diff", nil)
}

// ZoneReload has the file of a zone, or of all (""), read again.
func (c *Client) ZoneReload(ctx context.Context, name string, accept bool) ([]Zone, error) {
	return post[[]Zone](ctx, c, "/v1/zones/reload", map[string]any{"zone": name, "accept": accept})
}

// ZoneRollback has the version before served.
func (c *Client) ZoneRollback(ctx context.Context, name string) (Zone, error) {
	return post[Zone](ctx, c, "/v1/zones/"+url.PathEscape(name)+"/rollback", nil)
}

func get[T any](ctx context.Context, c *Client, path string, q url.Values) (T, error) {
	return call[T](ctx, c, http.MethodGet, path, q, nil)
}

func post[T any](ctx context.Context, c *Client, path string, in any) (T, error) {
	return call[T](ctx, c, http.MethodPost, path, nil, in)
}

func call[T any](ctx context.Context, c *Client, method, path string, q url.Values, in any) (T, error) {
	var out T
	resp, err := c.do(ctx, method, path, q, in)
	if err != nil {
		return out, err
	}
	defer func() { _ = resp.Body.Close() }()
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&out); err != nil {
		return out, fmt.Errorf("%s %s: the answer of %s can't be read: %w", method, path, c.where, err)
	}
	return out, nil
}

// do sends a request; anything but success is an error.
func (c *Client) do(ctx context.Context, method, path string, q url.Values, in any) (*http.Response, error) {
	var content io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", method, path, err)
		}
		content = bytes.NewReader(data)
	}
	target := c.base + path
	if len(q) > 0 {
		target += "?" + q.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, target, content)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	req.Header.Set("Accept", "application/json")
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	var sent atomic.Bool
	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { sent.Store(true) }}
	resp, err := c.http.Do(req.WithContext(httptrace.WithClientTrace(ctx, trace)))
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // its text repeats the made-up URL
		}
		return nil, &Unreachable{Where: c.where, Sent: sent.Load(), Err: err}
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer func() { _ = resp.Body.Close() }()
	return nil, readError(resp)
}

func readError(resp *http.Response) error {
	e := &Error{}
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err == nil {
		err = json.Unmarshal(data, e)
	}
	if err != nil || e.Status == 0 {
		return newError(resp.StatusCode, "the node answered %s: %s", resp.Status, strings.TrimSpace(string(data)))
	}
	return e
}
