package policy

import (
	"bufio"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestClusterTranscripts runs the stories of several nodes under testdata/cluster: configuration as in
// TestTranscripts, and
//
//	node NAME SITE [noprobe]        in place of the one node of other stories
//	set votettl|observers|rejoin_after|cold_start VALUE
//	start [NODE...] · restart NODE · kill NODE...   with what is on disk; a first start serves already
//	empty NODE                      its folder
//	cut A B · deaf A B (hears not B) · mend [A B]   also with the names of sites; alone A: from all
//	fail TARGET|* [how] [NODE...] · heal TARGET|* [NODE...]
//	clock NODE DURATION
//	+DURATION                       time passes, with probes and votes every second
//	at NODE ORDER · dry NODE ORDER · status NODE · explain NODE NAME · answers
func TestClusterTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/cluster/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := newTale(t).run(string(want))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("transcript differs (-want +got); go test ./policy -run Transcripts -update rewrites it:\n%s", diff)
			}
		})
	}
}

// tale is a story of several nodes.
type tale struct {
	*story // its configuration and its output
	m      *mesh
}

func newTale(t *testing.T) *tale {
	s := newStory(t)
	s.cfg.Nodes = nil
	return &tale{story: s}
}

func (s *tale) run(text string) string {
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		line := lines.Text()
		if strings.HasPrefix(line, ">") {
			continue
		}
		s.out.WriteString(line + "\n")
		if f := strings.Fields(line); len(f) > 0 && f[0][0] != '#' {
			s.command(f)
		}
	}
	return s.out.String()
}

func (s *tale) setting(f []string) {
	switch f[0] {
	case "votettl":
		s.cfg.VoteTTL = s.duration(f[1])
	case "rejoin_after":
		s.cfg.RejoinAfter = s.duration(f[1])
	case "observers":
		s.cfg.Observers = len(f[1]) // one letter each
	case "cold_start":
		s.cfg.ColdStart = ColdStartServe
	case "drills":
		s.cfg.Drills = true
	}
}

// members are those that words name, by node or by site; all where there are none.
func (s *tale) members(words []string) []*member {
	var list []*member
	for _, n := range s.cfg.Nodes {
		if len(words) == 0 || slices.Contains(words, string(n.ID)) || slices.Contains(words, string(n.Site)) {
			list = append(list, s.m.nodes[n.ID])
		}
	}
	if len(list) == 0 {
		s.t.Fatalf("nobody is called %v", words)
	}
	return list
}

func (s *tale) command(f []string) {
	switch f[0] {
	case "node":
		s.cfg.Nodes = append(s.cfg.Nodes, Node{ID: NodeID(f[1]), Site: SiteID(f[2]), Probes: !slices.Contains(f, "noprobe")})
		return
	case "set":
		s.setting(f[1:])
		return
	}
	if s.config(f) {
		return
	}
	if s.m == nil {
		s.m = newMesh(s.t.Fatalf, s.say, s.cfg, epochStart)
	}
	switch f[0] {
	case "start", "restart", "kill", "empty":
		s.life(f[0], s.members(f[1:]))
	case "cut", "deaf", "mend", "alone":
		s.network(f)
	case "fail", "heal":
		s.damage(f)
	case "clock":
		s.m.skew[NodeID(f[1])] = s.duration(f[2])
	case "at", "dry":
		s.order(s.members(f[1:2])[0], f[2:], f[0] == "dry")
	case "answers":
		for _, n := range s.m.all() {
			if n.s != nil {
				s.m.answers(n)
			}
		}
	case "status", "explain":
		one := story{t: s.t, state: s.members(f[1:2])[0].s, now: s.m.now}
		if f[0] == "status" {
			one.status()
		} else {
			one.explain(f[2:])
		}
		s.out.WriteString(one.out.String())
	default:
		if f[0][0] != '+' {
			s.t.Fatalf("unknown command %q", f[0])
		}
		s.m.pass(s.duration(f[0][1:]))
	}
}

func (s *tale) life(what string, list []*member) {
	for _, n := range list {
		switch what {
		case "start":
			n.stamped = s.m.clock(n)
			s.m.start(n)
		case "restart":
			s.m.start(n)
		case "kill":
			n.s = nil
		case "empty":
			n.disk, n.health, n.stamped = map[EntryKey]Entry{}, map[TargetID]HealthEntry{}, time.Time{}
		}
	}
	if what == "start" || what == "restart" {
		s.m.meet()
	}
}

func (s *tale) network(f []string) {
	from, to := s.members(f[1:min(2, len(f))]), s.members(f[min(2, len(f)):])
	for _, a := range from {
		for _, b := range to {
			switch ab, ba := [2]NodeID{a.id, b.id}, [2]NodeID{b.id, a.id}; f[0] {
			case "cut", "alone":
				s.m.cuts[ab], s.m.cuts[ba] = a != b, a != b
			case "deaf":
				s.m.cuts[ba] = true
			case "mend":
				delete(s.m.cuts, ab)
				delete(s.m.cuts, ba)
			}
		}
	}
}

func (s *tale) damage(f []string) {
	how, at := Timeout, f[2:]
	if len(at) > 0 && (at[0] == "refused" || at[0] == "timeout") {
		if at[0] == "refused" {
			how = Refused
		}
		at = at[1:]
	}
	keys := []string{f[1]}
	if len(at) > 0 {
		keys = nil
		for _, n := range s.members(at) {
			keys = append(keys, f[1]+" "+string(n.id))
		}
	}
	for _, key := range keys {
		if f[0] == "fail" {
			s.m.fails[key] = how
		} else {
			delete(s.m.fails, key)
		}
	}
}

func (s *tale) order(n *member, f []string, dry bool) {
	if p, err := n.s.Judge(s.parseOrder(f), s.m.clock(n)); tellPreview(s.say, p, err) && !dry {
		s.m.give(n, p.Entries)
	}
}
