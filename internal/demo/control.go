package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const controlTimeout = 5 * time.Second

// control is the socket by which fail and heal reach the balancers. It is open
// to the demo's own user alone.
type control struct {
	listener net.Listener
	http     *http.Server
}

// openControl also makes sure that the folder has no other demo.
func openControl(dir string, set func(site string, broken bool) error) (*control, error) {
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
	for verb, broken := range map[string]bool{"fail": true, "heal": false} {
		mux.HandleFunc("POST /"+verb+"/{site}", func(w http.ResponseWriter, r *http.Request) {
			if err := set(r.PathValue("site"), broken); err != nil {
				http.Error(w, err.Error(), http.StatusUnprocessableEntity)
				return
			}
			_ = json.NewEncoder(w).Encode(map[string]any{"site": r.PathValue("site"), "broken": broken})
		})
	}
	return &control{l, &http.Server{Handler: mux, ReadHeaderTimeout: controlTimeout}}, nil
}

// Fail breaks the load balancer of a site of the demo in a folder.
func Fail(ctx context.Context, dir, site string) error { return tell(ctx, dir, "fail", site) }

// Heal mends it.
func Heal(ctx context.Context, dir, site string) error { return tell(ctx, dir, "heal", site) }

func tell(ctx context.Context, dir, verb, name string) error {
	if _, ok := siteNamed(name); !ok {
		return fmt.Errorf("no site %q in the demo: expected %s", name, strings.Join(Sites(), ", "))
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
		return fmt.Errorf("demo: %w", err)
	}
	resp, err := client.Do(req)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("no demo runs in %s: start one with 'pharos demo', or name its folder with --data-dir", dir)
	}
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
		return fmt.Errorf("demo: %s", strings.TrimSpace(string(text)))
	}
	return nil
}

// Sites are the names of the demo's sites.
func Sites() []string {
	var names []string
	for _, s := range sites {
		names = append(names, s.name)
	}
	return names
}
