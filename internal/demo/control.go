package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

const controlTimeout = 5 * time.Second

// verbs are what a demo can be told, and whether each takes sites, links or both.
var verbs = map[string]struct{ sites, links bool }{
	"fail": {sites: true}, "heal": {sites: true},
	"kill": {sites: true}, "revive": {sites: true},
	"cut": {links: true}, "mend": {sites: true, links: true}, "isolate": {sites: true},
}

// Names are what a verb takes.
func Names(verb string) []string {
	var names []string
	if verbs[verb].sites {
		names = append(names, Sites()...)
	}
	if verbs[verb].links {
		names = append(names, Links()...)
	}
	return names
}

// control is the socket by which a demo is told what to break. It is open to the
// demo's own user alone.
type control struct {
	listener net.Listener
	http     *http.Server
}

// openControl also makes sure that the folder has no other demo.
func openControl(dir string, do func(ctx context.Context, verb, name string) error) (*control, error) {
	path := filepath.Join(dir, controlFile)
	if c, err := net.DialTimeout("unix", path, controlTimeout); err == nil {
		_ = c.Close()
		return nil, fmt.Errorf("a demo runs in %s already: end that one, or name another folder with --data-dir", dir)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("demo: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("demo: %w", err), l.Close())
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /{verb}/{name}", func(w http.ResponseWriter, r *http.Request) {
		verb, name := r.PathValue("verb"), r.PathValue("name")
		if !slices.Contains(Names(verb), name) {
			http.Error(w, fmt.Sprintf("can't %s %q", verb, name), http.StatusUnprocessableEntity)
			return
		}
		if err := do(r.Context(), verb, name); err != nil {
			http.Error(w, err.Error(), http.StatusUnprocessableEntity)
			return
		}
		_, _ = io.WriteString(w, done(verb, name))
	})
	return &control{l, &http.Server{Handler: mux, ReadHeaderTimeout: controlTimeout}}, nil
}

// Tell has the demo in a folder do what a verb says to a site or link, and returns
// what it has done.
func Tell(ctx context.Context, dir, verb, name string) (string, error) {
	if !slices.Contains(Names(verb), name) {
		return "", fmt.Errorf("can't %s %q: expected %s", verb, name, strings.Join(Names(verb), ", "))
	}
	path := filepath.Join(dir, controlFile)
	client := &http.Client{Timeout: controlTimeout, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		},
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://demo/"+verb+"/"+name, http.NoBody)
	if err != nil {
		return "", fmt.Errorf("demo: %w", err)
	}
	resp, err := client.Do(req)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return "", fmt.Errorf("no demo runs in %s: start one with 'pharos demo', or name its folder with --data-dir", dir)
	}
	if err != nil {
		return "", fmt.Errorf("demo: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	if resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("demo: %s", strings.TrimSpace(string(text)))
	}
	return string(text), err
}
