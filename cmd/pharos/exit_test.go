package main

import (
	"bufio"
	"bytes"
	"context"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// dyingNode is a node that reads a request and is gone before it answers; asked is told of each.
func dyingNode(t *testing.T, dies <-chan struct{}) (socket string, asked <-chan struct{}) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	requests := make(chan struct{}, 10)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
				requests <- struct{}{}
			}
			<-dies
			c.Close()
		}
	}()
	return socket, requests
}

// TestAnswerThatNeverCame wants who gave an order told that it may stand, and who only looked not.
func TestAnswerThatNeverCame(t *testing.T) {
	gone := make(chan struct{})
	close(gone)
	socket, _ := dyingNode(t, gone)
	for line, may := range map[string]bool{
		"override set www.shop.example --site city-b --reason x":           true,
		"override set www.shop.example --site city-b --reason x --dry-run": false,
		"drain site/city-b --reason x":                                     true,
		"site lost city-b --reason x -o json":                              true,
		"alarm ack disk --reason x":                                        true,
		"reload":                                                           true,
		"zone reload one.example":                                          true,
		"status":                                                           false,
	} {
		var out, errs bytes.Buffer
		a := &app{out: &out, err: &errs, getenv: func(string) string { return "" }}
		code := a.execute(t.Context(), append(strings.Fields(line), "--socket", socket))
		said := errs.String()
		if code != exitFailed || !strings.Contains(said, "the connection to "+socket+" broke before the answer came") ||
			strings.Contains(said, "no node answers") || strings.Contains(said, "may have taken it") != may || strings.Contains(said, "pharos audit list") != may {
			t.Errorf("%s: exit code %d\n%s", line, code, said)
		}
	}
}

// TestInterruptedOrder wants whoever presses Ctrl-C while an order waits for other nodes told that it may stand.
func TestInterruptedOrder(t *testing.T) {
	dies := make(chan struct{})
	socket, asked := dyingNode(t, dies)
	defer close(dies)
	ctx, interrupt := context.WithTimeout(t.Context(), 20*time.Second)
	defer interrupt()
	go func() { <-asked; interrupt() }()
	var out, errs bytes.Buffer
	a := &app{out: &out, err: &errs, getenv: func(string) string { return "" }}
	code := a.execute(ctx, strings.Fields("drain site/city-b --reason x --socket "+socket))
	if said := errs.String(); code != exitFailed || !strings.Contains(said, "interrupted before the answer of "+socket) || !strings.Contains(said, "pharos audit list") {
		t.Errorf("exit code %d\n%s", code, said)
	}
}
