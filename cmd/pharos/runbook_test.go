package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/scloudstack/pharos/internal/api"
	"github.com/scloudstack/pharos/policy"
)

// runbookWithin is how long what a command looks at may take to come about.
const runbookWithin = 30 * time.Second

// TestRunbooks runs every command of docs/runbooks on a demo and compares what it
// prints with what stands there, by the rules that the README beside them tells.
func TestRunbooks(t *testing.T) {
	files, err := filepath.Glob("../../docs/runbooks/*.md")
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		steps, err := readRunbook(string(text))
		if err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		if len(steps) == 0 {
			if filepath.Base(f) != "README.md" {
				t.Errorf("%s has no command", f)
			}
			continue
		}
		ran++
		t.Run(strings.TrimSuffix(filepath.Base(f), ".md"), func(t *testing.T) {
			r := startDemo(t, demoDir(t))
			r.until(runbookWithin, r.wholeDemo)
			for _, s := range steps {
				r.step(s)
			}
		})
	}
	if ran == 0 {
		t.Error("no runbook")
	}
}

// wholeDemo wants all nodes to serve and to hear one another, and each endpoint up for each.
func (r *running) wholeDemo() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	for _, name := range []string{"edge-a", "edge-b", "edge-r"} {
		node := api.NewSocketClient(api.SocketPath(filepath.Join(r.dir, name)))
		s, err := node.Status(ctx)
		node.Close()
		if err != nil {
			return err
		}
		if !s.Node.Readiness.Ready {
			return fmt.Errorf("%s is not ready: %s", name, s.Node.Readiness.Why)
		}
		for _, m := range s.Decision.Members {
			if !m.Heard {
				return fmt.Errorf("%s does not hear %s", name, m.Node)
			}
		}
		for _, e := range s.Decision.Services[0].Endpoints {
			if e.Health != policy.Up {
				return fmt.Errorf("%s holds %s %s", name, e.Addresses[0], e.Health)
			}
		}
		if len(s.Alarms) > 0 {
			return fmt.Errorf("%s has the alarm %s", name, s.Alarms[0].Cause)
		}
	}
	return nil
}

// runbookStep is one command with what it prints.
type runbookStep struct {
	line    int
	command string
	looks   bool // it changes nothing, and is tried until it prints what is wanted
	exit    int
	want    string // as it stands there
	match   *regexp.Regexp
}

var exitLine = regexp.MustCompile(`^\[exit code (\d+)\]$`)

// readRunbook finds the commands in the blocks that are marked as console.
func readRunbook(text string) ([]runbookStep, error) {
	var steps []runbookStep
	inside := false
	for i, line := range strings.Split(text, "\n") {
		switch {
		case strings.HasPrefix(line, "```"):
			inside = !inside && strings.HasPrefix(line, "```console")
		case !inside:
		case strings.HasPrefix(line, "$ "):
			command := line[2:]
			steps = append(steps, runbookStep{line: i + 1, command: command, looks: onlyLooks(command)})
		case len(steps) == 0:
			return nil, fmt.Errorf("line %d: a block begins with a command ($ ...), found %q", i+1, line)
		default:
			s := &steps[len(steps)-1]
			if m := exitLine.FindStringSubmatch(line); m != nil {
				s.exit, _ = strconv.Atoi(m[1])
				continue
			}
			s.want += line + "\n"
		}
	}
	for i := range steps {
		steps[i].match = loosely(steps[i].want)
	}
	return steps, nil
}

// onlyLooks says whether a command may be given again and again.
func onlyLooks(command string) bool {
	if strings.Contains(command, "--dry-run") {
		return true
	}
	for _, look := range []string{"dig ", "pharos status", "pharos explain", "pharos audit", "pharos alarm list", "pharos site list", "pharos override list", "pharos gate list", "pharos cluster status"} {
		if strings.HasPrefix(command, look) {
			return true
		}
	}
	return false
}

// volatile is what differs from run to run, the longer forms first.
var volatile = []struct{ found, accepted *regexp.Regexp }{
	{regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`), regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`)},
	{regexp.MustCompile(`\d\d:\d\d:\d\d`), regexp.MustCompile(`\d\d:\d\d:\d\d`)},
	{regexp.MustCompile(`~/\.local/share/pharos-demo`), regexp.MustCompile(`\S*/d`)},
	{regexp.MustCompile(`\d+ \([0-9a-f]{8}\)`), regexp.MustCompile(`\d+ \([0-9a-f]{8}\)`)},
	{regexp.MustCompile(`revision \d+`), regexp.MustCompile(`revision \d+`)},
	{regexp.MustCompile(`edge-[abr]/\d+`), regexp.MustCompile(`edge-[abr]/\d+`)},
	{regexp.MustCompile(`1 to \d+`), regexp.MustCompile(`1 to \d+`)},
	{regexp.MustCompile(`\b[0-9a-f]{64}\b`), regexp.MustCompile(`[0-9a-f]{64}`)},
	{regexp.MustCompile(`edge-([abr])  [0-9a-f]{8}\b`), regexp.MustCompile(`edge-[abr]\s+[0-9a-f]{8}`)},
	{regexp.MustCompile(`shop/\d+\.\d+\.edge-[abr]`), regexp.MustCompile(`shop/\d+\.\d+\.edge-[abr]`)},
	{regexp.MustCompile(`move      \d+,`), regexp.MustCompile(`move\s+\d+,`)},
	{regexp.MustCompile(`:(5300|18080)\b`), regexp.MustCompile(`:\d+`)},
	{regexp.MustCompile(`\b(\d+(\.\d+)? ?(µs|ms|s|m|h|d)\b)+( (ago|old))?|\bnow\b`), regexp.MustCompile(`(?:(?:\d+(?:\.\d+)? ?(?:µs|ms|s|m|h|d))+(?: (?:ago|old))?|now)`)},
	{regexp.MustCompile(`\bby ann\b`), regexp.MustCompile(`by \S+`)},
	{regexp.MustCompile(`\bann\b`), regexp.MustCompile(`\S+`)},
	{regexp.MustCompile(`…`), regexp.MustCompile(`.*`)},
	{regexp.MustCompile(` +`), regexp.MustCompile(` +`)},
}

// loosely is what accepts an output, and others that differ in what is volatile.
func loosely(want string) *regexp.Regexp {
	var b strings.Builder
	b.WriteString(`\A`)
	for line := range strings.Lines(want) {
		if line = strings.TrimRight(line, " \n"); line == "..." {
			b.WriteString(`(?:.*\n)*?`)
			continue
		}
		for line != "" {
			at, end, with := len(line), len(line), ""
			for _, v := range volatile {
				if m := v.found.FindStringIndex(line); m != nil && m[0] < at {
					at, end, with = m[0], m[1], v.accepted.String()
				}
			}
			b.WriteString(regexp.QuoteMeta(line[:at]) + with)
			line = line[end:]
		}
		b.WriteString(` *\n`)
	}
	b.WriteString(`\z`)
	return regexp.MustCompile(b.String())
}

// step runs one command as the operator would.
func (r *running) step(s runbookStep) {
	r.t.Helper()
	command := strings.ReplaceAll(s.command, "-p 5300", "-p "+strconv.Itoa(r.port))
	command = strings.ReplaceAll(command, "~/.local/share/pharos-demo", r.dir)
	for begun := time.Now(); ; <-time.After(50 * time.Millisecond) {
		cmd := exec.Command("sh", "-c", command)
		cmd.Env = append(os.Environ(), "PHAROS_DATA_DIR="+r.dir, "TZ=UTC")
		out, err := cmd.CombinedOutput()
		if len(out) > 0 && !bytes.HasSuffix(out, []byte("\n")) {
			out = append(out, '\n')
		}
		if code := cmd.ProcessState.ExitCode(); code == s.exit && s.match.Match(out) {
			return
		}
		if !s.looks || time.Since(begun) > runbookWithin {
			r.t.Fatalf("line %d: %s\n%s(%v)\nwant, with exit code %d:\n%s", s.line, s.command, out, err, s.exit, s.want)
		}
	}
}

// TestLoosely holds the rule to what it is to accept, and to refuse.
func TestLoosely(t *testing.T) {
	for _, tc := range []struct {
		want, got string
		fits      bool
	}{
		{"Done: drain of site/city-a, by ann, in revision 5.\n", "Done: drain of site/city-a, by root, in revision 12.\n", true},
		{"Done: drain of site/city-a, by ann, in revision 5.\n", "Done: drain of site/city-b, by root, in revision 12.\n", false},
		{"  edge-a  city-a  silent for 6s  2 (b303ff8a)\n", "  edge-a  city-a  silent for 1m6s  17 (00112233)\n", true},
		{"  edge-a  city-a  silent for 6s\n", "  edge-a  city-a  alive\n", false},
		{"ALARMS\n...\nNext: x\n", "ALARMS\n  one\n  two\nNext: x\n", true},
		{"ALARMS\n...\nNext: x\n", "ALARMS\nNext: y\n", false},
		{"127.0.2.1\n", "127.0.3.1\n", false},
		{"127.0.2.1\n", "127.0.2.1\n127.0.3.1\n", false},
		{"503 from 127.0.1.1:18080 after 12 ms\n", "503 from 127.0.1.1:4711 after 477 µs\n", true},
		{"edge-b  down  536ms old  refused\n", "edge-b  down  now        refused\n", true},
		{"move      2, 1s ago: …\n", "move      4, 12s ago: 127.0.1.1 is up\n", true},
		{"2 of 3 sites silent for 3s, no majority, serving revision 3\n", "1 of 3 sites silent for 3s, no majority, serving revision 3\n", false},
	} {
		if got := loosely(tc.want).MatchString(tc.got); got != tc.fits {
			t.Errorf("%q for %q: %v", tc.want, tc.got, got)
		}
	}
}
