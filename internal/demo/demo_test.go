package demo

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "demo")
	s, err := openFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	s.Port, s.Balancers, s.Broken = 5300, 18080, []string{"city-a"}
	if edited, err := s.generate(dir, map[string]string{"edge-a": "ed25519:A"}); err != nil || len(edited) > 0 {
		t.Fatal(edited, err)
	}
	if err := s.save(dir); err != nil {
		t.Fatal(err)
	}

	t.Run("the next run finds what this one left", func(t *testing.T) {
		again, err := openFolder(dir)
		if err != nil || again.Port != 5300 || again.Balancers != 18080 || len(again.Broken) != 1 {
			t.Errorf("%+v, %v", again, err)
		}
	})
	t.Run("a file that nobody touched is written anew", func(t *testing.T) {
		s.Port = 5301
		if edited, err := s.generate(dir, map[string]string{"edge-a": "ed25519:A"}); err != nil || len(edited) > 0 {
			t.Fatal(edited, err)
		}
		text, err := os.ReadFile(filepath.Join(dir, configFile))
		if err != nil || !strings.Contains(string(text), "{address}:5301") {
			t.Errorf("%s, %v", text, err)
		}
	})
	t.Run("an edited one is kept", func(t *testing.T) {
		path := filepath.Join(dir, zoneFile)
		if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
		edited, err := s.generate(dir, map[string]string{"edge-a": "ed25519:A"})
		if err != nil || len(edited) != 1 || edited[0] != path {
			t.Fatal(edited, err)
		}
		if text, _ := os.ReadFile(path); string(text) != "mine" {
			t.Errorf("overwritten: %s", text)
		}
	})
	t.Run("a folder of something else is left alone", func(t *testing.T) {
		other := t.TempDir()
		if err := os.WriteFile(filepath.Join(other, "precious"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := openFolder(other); err == nil || !strings.Contains(err.Error(), "no demo's folder") {
			t.Errorf("got %v", err)
		}
	})
}

func TestBalancers(t *testing.T) {
	first, port, err := openBalancers(0)
	if err != nil {
		t.Fatal(err)
	}
	second, other, err := openBalancers(port)
	if err != nil || other == port {
		t.Fatalf("port %d again, %v", other, err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	get := func(b *balancer, want int) {
		t.Helper()
		resp, err := client.Get(fmt.Sprintf("http://%s:%d/healthz", b.address, b.port))
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s answers %d, want %d", b.name, resp.StatusCode, want)
		}
	}
	get(first[1], http.StatusOK)
	first[1].broken.Store(true)
	get(first[1], http.StatusServiceUnavailable)
	get(first[0], http.StatusOK)
	first[1].broken.Store(false)
	get(first[1], http.StatusOK)
	first[0].close()
	if _, err := client.Get(fmt.Sprintf("http://%s:%d/", first[0].address, port)); err == nil {
		t.Error("a killed balancer answers")
	}
	if err := first[0].open(); err != nil {
		t.Fatal(err)
	}
	get(first[0], http.StatusOK)
	for _, b := range slices.Concat(first, second) {
		b.close()
	}
}

func TestLinks(t *testing.T) {
	for _, tc := range []struct {
		site, what string
		far        []string
	}{
		{"city-a", "dwdm", []string{"city-b"}},
		{"remote", "dwdm", nil},
		{"remote", "remote", []string{"city-a", "city-b"}},
		{"city-b", "remote", []string{"remote"}},
	} {
		if got := cutFrom(tc.site, linksOf(tc.what)); !slices.Equal(got, tc.far) {
			t.Errorf("with %s cut, %s misses %v, want %v", tc.what, tc.site, got, tc.far)
		}
	}
	if got := linksOf("nothing"); got != nil {
		t.Errorf("links of nothing: %v", got)
	}
}

// TestNodeThatWontRun wants a demo to give up on a node that dies again and
// again, with the end of its log, and to leave nothing behind.
func TestNodeThatWontRun(t *testing.T) {
	dir, err := os.MkdirTemp("/tmp", "ph") // short, for the socket in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	program := filepath.Join(t.TempDir(), "pharos")
	if err := os.WriteFile(program, []byte("#!/bin/sh\n[ $1 = serve ] || { echo key; exit; }\necho no disk today >&2\nexit 7\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var out bytes.Buffer
	d := &Demo{Dir: filepath.Join(dir, "d"), Program: program, Say: "pharos", Out: &out}
	err = d.Run(ctx)
	if err == nil || !strings.Contains(err.Error(), "died 3 times (exit status 7)") || !strings.Contains(err.Error(), "no disk today") {
		t.Errorf("got %v\n%s", err, &out)
	}
	if _, err := Tell(ctx, d.Dir, "fail", "city-a"); err == nil || !strings.Contains(err.Error(), "no demo runs in") {
		t.Errorf("got %v", err)
	}
}
