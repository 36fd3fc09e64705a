package policy

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden transcripts under testdata")

// TestTranscripts runs the stories under testdata. A line that starts with "> " is
// output and is compared; every other line is a comment, configuration or an event:
//
//	site NAME METRO [standby|witness] [net=PREFIX,...] [require=TARGET,...]
//	service NAME STEERING [names=N,...] [key=value ...]
//	endpoint SITE[+SITE] ADDRESS[,ADDRESS] [weight=N] [check=TARGET,...]   of the service above
//	self SITE                       where this node stands, city-a if not said
//	gate NAME open|closed · assert NAME SERVICE AT_LEAST
//	start · restart [after DURATION] · reload (takes the configuration lines since the last one)
//	+DURATION                       time passes, with the ticks that were asked for
//	probe [NxDURATION] TARGET=ok|timeout|refused|unable ...
//	override KEY [site=S] [addrs=A,...] [ttl=D] [for=D] [unlisted] [keep-other] [break=RULE] · clear KEY
//	drain KEY [for=D] [break=RULE] · undrain KEY · return SERVICE [SITE] · gate-open NAME · gate-close NAME · ack CAUSE · unack CAUSE
//	lost SITE... · readmit SITE... · failover service/SERVICE|all to=METRO · rejoin · block KEY for=D · unblock KEY
//	dry ORDER                       only judges
//	entry KIND KEY [by=NODE] [metro=M] [site=S] [ago=D]   an entry that another node wrote
//	answers · status · explain NAME [CLIENT]
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := newStory(t).run(string(want))
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

var epochStart = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// story is one transcript under way.
type story struct {
	t     *testing.T
	out   strings.Builder
	cfg   Config
	state *State
	now   time.Time
	wake  time.Time
	disk  Stored
}

func newStory(t *testing.T) *story {
	s := &story{t: t, now: epochStart}
	s.cfg = emptyConfig()
	return s
}

func emptyConfig() Config {
	return Config{
		Cluster: "test", Self: "edge", Targets: map[TargetID]Target{},
		Nodes: []Node{{ID: "edge", Site: "city-a", Probes: true}},
	}
}

func (s *story) run(text string) string {
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

func (s *story) say(format string, args ...any) {
	s.out.WriteString("> " + fmt.Sprintf(format, args...) + "\n")
}

func (s *story) command(f []string) {
	if s.config(f) {
		return
	}
	switch {
	case f[0] == "start":
		cfg := s.cfg
		s.cfg = emptyConfig()
		st, fx := Start(&cfg, s.disk, s.now)
		s.state = st
		s.effects(fx)
	case f[0] == "restart":
		s.restart(f[1:])
	case f[0] == "reload":
		cfg := s.cfg
		s.cfg = emptyConfig()
		for _, n := range s.state.Reconsider(&cfg, s.now) {
			s.say("would change %s: %s → %s", n.Name, n.Before, n.After)
		}
		for _, u := range s.state.Unjudged(&cfg) {
			s.say("would decide %s once new targets are judged: %d", u.Service, u.Targets)
		}
		s.effects(Step(s.state, Reconfigured{&cfg}, s.now))
	case f[0][0] == '+':
		s.pass(s.duration(f[0][1:]))
	case f[0] == "probe":
		s.probe(f[1:])
	case f[0] == "dry":
		s.order(f[1:], true)
	case f[0] == "entry":
		s.entry(f[1:])
	case f[0] == "answers":
		s.answers()
	case f[0] == "status":
		s.status()
	case f[0] == "explain":
		s.explain(f[1:])
	default:
		s.order(f, false)
	}
}

func (s *story) duration(text string) time.Duration {
	d, err := time.ParseDuration(text)
	if err != nil {
		s.t.Fatal(err)
	}
	return d
}

// options splits key=value words from plain ones.
func options(f []string) (plain []string, opt map[string]string) {
	opt = map[string]string{}
	for _, w := range f {
		if k, v, ok := strings.Cut(w, "="); ok {
			opt[k] = v
		} else {
			plain = append(plain, w)
		}
	}
	return plain, opt
}

func list(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, ",")
}

func (s *story) config(f []string) bool {
	plain, opt := options(f)
	switch plain[0] {
	case "site":
		site := Site{ID: SiteID(plain[1]), Metro: MetroID(plain[2])}
		for i, word := range roleWords {
			if slices.Contains(plain[3:], word) {
				site.Role = SiteRole(i)
			}
		}
		for _, p := range list(opt["net"]) {
			site.Networks = append(site.Networks, netip.MustParsePrefix(p))
		}
		for _, r := range list(opt["require"]) {
			site.Requires = append(site.Requires, Requirement{Name: r, Target: TargetID(r)})
			s.target(r, site.ID)
		}
		s.cfg.Sites = append(s.cfg.Sites, site)
	case "service":
		s.service(plain, opt)
	case "endpoint":
		s.endpoint(plain, opt)
	case "self":
		s.cfg.Nodes[0].Site = SiteID(plain[1])
	case "gate":
		s.cfg.Rules = append(s.cfg.Rules, Rule{Name: plain[1], GateOpen: plain[2] == "open"})
	case "assert":
		n, _ := strconv.Atoi(plain[3])
		s.cfg.Rules = append(s.cfg.Rules, Rule{Name: plain[1], Service: ServiceID(plain[2]), AtLeast: n})
	default:
		return false
	}
	return true
}

func (s *story) target(id string, site SiteID) {
	s.cfg.Targets[TargetID(id)] = Target{
		ID: TargetID(id), Site: site, Label: "tcp " + id, Interval: time.Second, Timeout: 500 * time.Millisecond, Fall: 3, Rise: 3,
	}
}

func (s *story) service(plain []string, opt map[string]string) {
	sv := Service{
		ID: ServiceID(plain[1]), TTL: 10 * time.Second, TTLFloor: 2 * time.Second,
		Names:  []string{"www." + plain[1] + ".example."},
		ByRole: slices.Contains(plain, "by-role"), Return: Return{Hold: 5 * time.Minute},
	}
	find := func(words []string, text string) uint8 {
		i, err := parseWord([]byte(text), words)
		if err != nil {
			s.t.Fatal(err)
		}
		return i
	}
	sv.Steer = Steering(find(steeringWords, plain[2]))
	if v := opt["names"]; v != "" {
		sv.Names = list(v)
	}
	if v := opt["pick_by"]; v != "" {
		sv.PickBy = PickBy(find(pickWords, v))
	}
	if v := opt["ttl"]; v != "" {
		sv.TTL = s.duration(v)
	}
	if v := opt["all_down"]; v != "" {
		sv.AllDown = AllDown(find(allDownWords, v))
	}
	if v := opt["return"]; v != "" {
		sv.Return.Policy = ReturnPolicy(find(returnWords, v))
		sv.Return.Hold = 0
	}
	if v := opt["hold"]; v != "" {
		sv.Return.Hold = s.duration(v)
	}
	if v := opt["over"]; v != "" {
		sv.Return.Over = s.duration(v)
	}
	sv.Return.AfterSiteLossSame = opt["after_site_loss"] == "same"
	sv.MinHealthy, _ = strconv.Atoi(opt["min_healthy"])
	s.cfg.Services = append(s.cfg.Services, sv)
}

func (s *story) endpoint(plain []string, opt map[string]string) {
	sv := &s.cfg.Services[len(s.cfg.Services)-1]
	var ep Endpoint
	for _, a := range list(plain[2]) {
		ep.Addresses = append(ep.Addresses, netip.MustParseAddr(a))
	}
	ep.ID = EndpointID(ep.Addresses[0].String())
	if w, err := strconv.ParseUint(opt["weight"], 10, 32); err == nil {
		ep.Weight = uint32(w)
	}
	checks := list(opt["check"])
	for i, site := range strings.Split(plain[1], "+") {
		at := EndpointSite{Site: SiteID(site)}
		mine := checks
		if strings.Contains(plain[1], "+") { // one check for each of the sites that share it
			mine = checks[i : i+1]
		}
		for _, c := range mine {
			at.Targets = append(at.Targets, TargetID(c))
			s.target(c, SiteID(site))
		}
		ep.At = append(ep.At, at)
	}
	sv.Endpoints = append(sv.Endpoints, ep)
}

// restart throws the state away and starts again from what was stored.
func (s *story) restart(f []string) {
	s.disk.Stamped = s.now
	if len(f) == 2 && f[0] == "after" {
		s.now = s.now.Add(s.duration(f[1]))
	}
	st, fx := Start(s.state.ix.cfg, s.disk, s.now)
	s.state = st
	s.effects(fx)
}

// pass lets time go by, with a tick wherever one was asked for.
func (s *story) pass(d time.Duration) {
	end := s.now.Add(d)
	for !s.wake.IsZero() && !s.wake.After(end) {
		s.now = s.wake
		before := s.wake
		s.effects(Step(s.state, Tick{}, s.now))
		if s.wake.Equal(before) {
			s.t.Fatalf("the tick at %v asks for itself again", before)
		}
	}
	s.now = end
}

func (s *story) probe(f []string) {
	rounds, every := 1, time.Duration(0)
	if n, d, ok := strings.Cut(f[0], "x"); ok {
		if v, err := strconv.Atoi(n); err == nil {
			rounds, every, f = v, s.duration(d), f[1:]
		}
	}
	_, opt := options(f)
	for range rounds {
		s.pass(every)
		var obs Observed
		for _, id := range slices.Sorted(func(yield func(string) bool) {
			for k := range opt {
				if !yield(k) {
					return
				}
			}
		}) {
			o := Observation{Target: TargetID(id), Observer: "edge", At: s.now, Latency: time.Millisecond}
			switch opt[id] {
			case "ok":
				o.Reason = "connected"
			case "timeout":
				o.Outcome, o.Reason = Timeout, "no answer in 500ms"
			case "refused":
				o.Outcome, o.Reason = Refused, "connection refused"
			case "unable":
				o.Outcome, o.Reason = Unable, "socket: permission denied: grant it"
			default:
				s.t.Fatalf("probe %s=%s", id, opt[id])
			}
			obs = append(obs, o)
		}
		s.effects(Step(s.state, obs, s.now))
	}
}

func (s *story) parseOrder(f []string) Order {
	plain, opt := options(f)
	o := Order{Author: "ann", Reason: "test", BreakGlass: list(opt["break"])}
	if r, ok := opt["reason"]; ok {
		o.Reason = r
	}
	if len(plain) > 1 {
		o.Key = plain[1]
	}
	if v := opt["for"]; v != "" {
		o.For = s.duration(v)
	}
	switch plain[0] {
	case "override":
		o.Kind = KindOverride
		v := &Override{Site: SiteID(opt["site"]), Unlisted: slices.Contains(plain, "unlisted"), KeepOther: slices.Contains(plain, "keep-other")}
		for _, a := range list(opt["addrs"]) {
			v.Addresses = append(v.Addresses, netip.MustParseAddr(a))
		}
		if t := opt["ttl"]; t != "" {
			v.TTL = s.duration(t)
		}
		o.Override = v
	case "clear":
		o.Kind, o.Clear = KindOverride, true
	case "drain":
		o.Kind = KindDrain
	case "undrain":
		o.Kind, o.Clear = KindDrain, true
	case "return":
		o.Kind = KindReturn
		if len(plain) > 2 {
			o.ReturnTo = SiteID(plain[2])
		}
	case "gate-open", "gate-close":
		o.Kind, o.GateOpen = KindGate, plain[0] == "gate-open"
	case "ack", "unack":
		o.Kind, o.Clear = KindAck, plain[0] == "unack"
	case "lost", "readmit":
		o.Kind, o.Clear, o.Key = KindSiteLost, plain[0] == "readmit", ""
		for _, id := range plain[1:] {
			o.Sites = append(o.Sites, SiteID(id))
		}
	case "failover":
		o.Kind, o.Metro = KindActiveMetro, MetroID(opt["to"])
	case "rejoin":
		o.Kind = KindRejoin
	case "block", "unblock":
		o.Kind, o.Clear = KindBlock, plain[0] == "unblock"
	default:
		s.t.Fatalf("unknown command %q", plain[0])
	}
	return o
}

func (s *story) order(f []string, dry bool) {
	p, err := s.state.Judge(s.parseOrder(f), s.now)
	if !tellPreview(s.say, p, err) || dry {
		return
	}
	s.disk.Entries = append(s.disk.Entries, p.Entries...)
	s.effects(Step(s.state, Ordered(p.Entries), s.now))
}

// tellPreview says what an order would change, or why it is refused; false: it is.
func tellPreview(say func(string, ...any), p Preview, err error) bool {
	var refusal *Refusal
	switch {
	case errors.As(err, &refusal):
		say("refused by rule %s: %s", refusal.Rule, refusal.Text)
		return false
	case err != nil:
		say("error: %v", err)
		return false
	}
	for _, n := range p.Names {
		mark := "stays"
		if n.Changed {
			mark = "changes"
		}
		say("%s %s: %s → %s", n.Name, mark, n.Before, n.After)
	}
	if p.Cuts != "" {
		say("cuts off %s", p.Cuts)
	}
	for _, w := range p.Warnings {
		say("warning: %s", w)
	}
	return true
}

// entry brings in an entry of another node, as gossip will.
func (s *story) entry(f []string) {
	plain, opt := options(f)
	e := Entry{Kind: Kind(plain[0]), Key: plain[1], Author: "bob", Reason: "test"}
	at := s.now
	if v := opt["ago"]; v != "" {
		at = at.Add(-s.duration(v))
	}
	e.Stamp = Stamp{Wall: at.UnixMilli(), Node: NodeID(opt["by"])}
	switch e.Kind {
	case KindActiveMetro:
		e.Value = encode(ActiveMetro{MetroID(opt["metro"])})
	case KindOverride:
		e.Value = encode(Override{Site: SiteID(opt["site"])})
	}
	if slices.Contains(plain, "deleted") {
		e.Deleted = true
		e.Ends = s.state.entries[e.EntryKey()].Stamp
	}
	s.disk.Entries = append(s.disk.Entries, e)
	s.effects(Step(s.state, Ordered{e}, s.now))
}

func (s *story) effects(fx Effects) {
	s.disk.Entries = append(s.disk.Entries, fx.Store...)
	s.disk.Entries = slices.DeleteFunc(s.disk.Entries, func(e Entry) bool { return slices.Contains(fx.Drop, e.EntryKey()) })
	for _, h := range fx.Health {
		s.disk.Health = slices.DeleteFunc(s.disk.Health, func(o HealthEntry) bool { return o.Target == h.Target })
		s.disk.Health = append(s.disk.Health, h)
	}
	at := s.now.Format(time.TimeOnly)
	for _, c := range fx.Changes {
		s.say("%s %s: %s → %s (%s)", at, c.Subject, c.Before, c.After, c.Why)
	}
	if fx.Revision != nil {
		s.say("%s revision %d", at, fx.Revision.Number)
		s.answers()
	}
	if !fx.Wake.Equal(s.wake) && !fx.Wake.IsZero() {
		s.say("%s wake at %s", at, fx.Wake.Format("15:04:05.999"))
	}
	s.wake = fx.Wake
}

func (s *story) answers() {
	for _, name := range s.state.names() {
		a := s.state.rev.Answers[name]
		s.say("  %s %d %s", name, a.TTL, s.state.answerText(a))
	}
}

func (s *story) status() {
	st := s.state.Status(s.now)
	if st.Suspects != "" {
		s.say("suspects itself: %s", st.Suspects)
	}
	if st.Held != "" {
		s.say("held: %s", st.Held)
	}
	if st.Contact != "" {
		s.say("%s", st.Contact)
	}
	for _, m := range st.Members {
		if len(st.Members) > 1 {
			s.say("node %s %s heard=%v suspect=%v held=%v decides=%v revision=%d same=%v/%v/%v", m.Node, m.Site, m.Heard, m.Suspect, m.Held, m.Decides,
				m.Revision, m.SameAnswers, m.SameConfig, m.SameZones)
		}
	}
	for _, b := range st.Blocks {
		s.say("block %s/%s until %s by %s", b.Node, b.Site, b.Expires.UTC().Format(time.TimeOnly), b.Author)
	}
	for _, site := range st.Sites {
		s.say("site %s %s: %s drained=%v lost=%v loss=%.2f fall=%d", site.Site, site.Role, site.Health, site.Drained, site.Lost, site.Loss, site.Fall)
	}
	for _, sv := range st.Services {
		s.say("service %s %s metro=%s move=%d none_up=%v", sv.Service, sv.Steer, sv.ActiveMetro, sv.Move, sv.NoneUp)
		for _, ep := range sv.Endpoints {
			s.say("  endpoint %s %v %s (%s) candidate=%v%s in_set=%v", ep.Endpoint, ep.Sites, ep.Health, ep.Detail, ep.Candidate, paren(ep.Why), ep.InSet)
		}
		for _, n := range sv.Names {
			s.say("  name %s %d %s by %s", n.Name, n.TTL, n.Answer, n.Rule)
		}
		for _, w := range sv.Waiting {
			until := "a person's word"
			if !w.Until.IsZero() {
				until = w.Until.Format(time.TimeOnly)
			}
			s.say("  waiting %s until %s: %s; %s", w.Endpoint, until, w.Why, w.Command)
		}
	}
	for _, v := range st.Overrides {
		s.say("override %s by %s names=%v misses=%q expired=%v suspended=%v", v.Key, v.Author, v.Names, v.Misses, v.Expired, v.Suspended)
	}
	for _, d := range st.Drains {
		s.say("drain %s by %s age=%v suspended=%v", d.Key, d.Author, d.Age, d.Suspended)
	}
	for _, g := range st.Gates {
		s.say("gate %s open=%v", g.Gate, g.Open)
	}
	for _, a := range st.Alarms {
		s.say("alarm %s acknowledged=%v: %s; %s", a.Cause, a.Acknowledged, a.Text, a.Way)
	}
	for _, o := range st.Suspended {
		s.say("suspended %s %s: %s; %s", o.Kind, o.Key, o.Why, o.Way)
	}
}

func paren(text string) string {
	if text == "" {
		return ""
	}
	return " (" + text + ")"
}

func (s *story) explain(f []string) {
	q := Query{Name: f[0]}
	if len(f) > 1 {
		q.Client = netip.MustParseAddr(f[1])
	}
	ex, err := s.state.Explain(q, s.now)
	if err != nil {
		s.say("error: %v", err)
		return
	}
	s.say("%s answers %s, TTL %d (%s), rule %s, group %q", ex.Name, ex.Answer, ex.TTL, ex.TTLWhy, ex.Rule, ex.Group)
	for _, step := range ex.Steps {
		s.say("- %s", step)
	}
	if e := ex.Rests; e != nil && len(s.state.ix.nodes) > 1 {
		s.say("  rests on %s %s of %s", e.Kind, e.Key, e.Stamp.Node)
	}
	for _, c := range ex.Candidates {
		mark := ""
		if c.InSet {
			mark = ", answered"
		}
		s.say("  candidate %s: %s (%s)%s%s", c.Endpoint, c.Health, c.Detail, paren(c.Why), mark)
		for _, t := range c.Targets {
			for _, v := range t.Votes {
				for _, n := range v.Nodes {
					if len(s.state.ix.nodes) > 1 {
						s.say("    %s: %s says %s, %v old%s%s", v.Site, n.Node, n.State, n.Age, paren(n.Why), paren(n.Reason))
					}
				}
			}
		}
	}
}
