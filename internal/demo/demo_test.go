package demo

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"path/filepath"
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
	if edited, err := s.generate(dir); err != nil || len(edited) > 0 {
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
		if edited, err := s.generate(dir); err != nil || len(edited) > 0 {
			t.Fatal(edited, err)
		}
		text, err := os.ReadFile(filepath.Join(dir, configFile))
		if err != nil || !strings.Contains(string(text), "127.0.0.1:5301") {
			t.Errorf("%s, %v", text, err)
		}
	})
	t.Run("an edited one is kept", func(t *testing.T) {
		path := filepath.Join(dir, zoneFile)
		if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
		edited, err := s.generate(dir)
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
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	all := append(first, second...)
	for _, b := range all {
		go func() { ended <- b.run(ctx) }()
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	get := func(b *balancer, want int) {
		t.Helper()
		resp, err := client.Get("http://" + b.listener.Addr().String() + "/healthz")
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
	cancel()
	for range all {
		if err := <-ended; err != nil {
			t.Error(err)
		}
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
	if err := os.WriteFile(program, []byte("#!/bin/sh\necho no disk today >&2\nexit 7\n"), 0o700); err != nil {
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
	if err := Fail(ctx, d.Dir, "city-a"); err == nil || !strings.Contains(err.Error(), "no demo runs in") {
		t.Errorf("got %v", err)
	}
}
