package faults

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/scloudstack/pharos/integration/lab/lab"
)

func TestMain(m *testing.M) {
	lab.RunPart()
	if file := os.Getenv(strangerVariable); file != "" {
		if err := beStranger(file); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

const steered = "www.shop.example."

// number is a setting of a run, from the environment.
func number(t *testing.T, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s=%q: expected a number from 1 up", name, text)
	}
	return n
}

// read has a command's answer in JSON.
func read(n *lab.Node, into any, args ...string) error {
	out := n.CLI(append(append(args, "-o", "json"), socket(n)...)...)
	if out.Code != 0 {
		return fmt.Errorf("pharos %s on %s ends with %d: %s", strings.Join(args, " "), n.Name(), out.Code, out.Stderr)
	}
	if err := json.Unmarshal([]byte(out.Stdout), into); err != nil {
		return fmt.Errorf("pharos %s on %s: %w in %s", strings.Join(args, " "), n.Name(), err, out.Stdout)
	}
	return nil
}

// socket has a command reach a node also where its socket is not in its data folder.
func socket(n *lab.Node) []string {
	path := filepath.Join(n.Dir(), "api.sock")
	if _, err := os.Stat(path); err != nil {
		return nil
	}
	return []string{"--socket", path}
}

// pins are the addresses of all overrides that a node holds, by key.
func pins(n *lab.Node) (map[string]string, error) {
	var list []struct {
		Key      string
		Override struct{ Addresses []string }
	}
	if err := read(n, &list, "override", "list"); err != nil {
		return nil, err
	}
	held := map[string]string{}
	for _, o := range list {
		held[o.Key] = strings.Join(o.Override.Addresses, " ")
	}
	return held, nil
}

// digest is of what a node answers.
func digest(n *lab.Node) (string, error) {
	var s struct {
		Node struct{ Revision struct{ Digest string } }
	}
	err := read(n, &s, "status")
	return s.Node.Revision.Digest, err
}

// agree, for Eventually: all nodes that run hold the same overrides and answer the same.
func agree(l *lab.Lab) func() error {
	return func() error {
		var first *lab.Node
		var held, answers string
		for _, n := range l.Nodes() {
			if !n.Running() {
				continue
			}
			p, err := pins(n)
			if err != nil {
				return err
			}
			d, err := digest(n)
			if err != nil {
				return err
			}
			switch {
			case first == nil:
				first, held, answers = n, fmt.Sprint(p), d
			case fmt.Sprint(p) != held:
				return fmt.Errorf("%s holds %v, %s %s", n.Name(), p, first.Name(), held)
			case d != answers:
				return fmt.Errorf("the answers of %s have digest %s, those of %s %s", n.Name(), d, first.Name(), answers)
			}
		}
		return nil
	}
}

type alarm struct{ Cause, Text, Way string }

// alarms of a node.
func alarms(n *lab.Node) ([]alarm, error) {
	var list []alarm
	err := read(n, &list, "alarm", "list")
	return list, err
}

// alarmed, for Eventually: a node has an alarm whose cause and text contain these.
func alarmed(n *lab.Node, cause, text string) func() error {
	return func() error {
		list, err := alarms(n)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(list, func(a alarm) bool { return strings.Contains(a.Cause, cause) && strings.Contains(a.Text, text) }) {
			return nil
		}
		return fmt.Errorf("%s has no alarm %q about %q: %+v", n.Name(), cause, text, list)
	}
}

// calm, for Eventually: no node has an alarm.
func calm(l *lab.Lab) func() error {
	return func() error {
		for _, n := range l.Nodes() {
			list, err := alarms(n)
			if err != nil {
				return err
			}
			if len(list) > 0 {
				return fmt.Errorf("%s: %+v", n.Name(), list)
			}
		}
		return nil
	}
}

// verified has every node check the audit, once all hold the same.
func verified(t *testing.T, l *lab.Lab) {
	t.Helper()
	l.Eventually(20*time.Second, sameAudit(l))
	for _, n := range l.Nodes() {
		if out := n.CLI(append([]string{"audit", "verify"}, socket(n)...)...); out.Code != 0 {
			t.Errorf("audit verify on %s:\n%s%s", n.Name(), out.Stdout, out.Stderr)
		}
	}
}

// together brings up a cluster whose nodes all answer, and have no alarm.
func together(t *testing.T, topology lab.Topology) *lab.Lab {
	t.Helper()
	l := lab.New(t, topology)
	l.Eventually(20*time.Second, l.Answers(steered, "203.0.113.10"))
	l.Eventually(20*time.Second, calm(l))
	return l
}

// do has a command done on a node, wholly or in part, and returns what it wrote.
func do(t *testing.T, n *lab.Node, args ...string) string {
	t.Helper()
	out := n.CLI(args...)
	if out.Code != 0 && out.Code != 3 {
		t.Fatalf("pharos %s on %s ends with %d:\n%s%s", strings.Join(args, " "), n.Name(), out.Code, out.Stdout, out.Stderr)
	}
	return out.Stdout
}

// logged, for Eventually: a node's log has a line with all of these.
func logged(n *lab.Node, words ...string) func() error {
	return func() error { return lineWith("the log of "+n.Name(), n.Log(), words) }
}

func lineWith(what, text string, words []string) error {
	for line := range strings.Lines(text) {
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
			return nil
		}
	}
	return fmt.Errorf("%s has no line with %q", what, words)
}

// sameAudit, for Eventually: all nodes hold the same audit.
func sameAudit(l *lab.Lab) func() error {
	return func() error {
		var first string
		for i, n := range l.Nodes() {
			var v struct {
				Chains []struct {
					Chain, Head string
					Records     int
				}
			}
			out := n.CLI(append([]string{"audit", "verify", "-o", "json"}, socket(n)...)...)
			if err := json.Unmarshal([]byte(out.Stdout), &v); err != nil {
				return err
			}
			if i == 0 {
				first = fmt.Sprint(v)
			}
			if fmt.Sprint(v) != first {
				return fmt.Errorf("%s holds the audit %v, %s %s", n.Name(), v, l.Nodes()[0].Name(), first)
			}
		}
		return nil
	}
}
