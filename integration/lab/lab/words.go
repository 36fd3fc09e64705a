package lab

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/scloudstack/pharos/integration/lab/wan"
)

// word is one that a line of a story begins with.
type word struct {
	name  string
	usage string
	help  string
	do    func(*line) error
}

const watchEvery = 5 * time.Millisecond

// vocabulary is in the order in which it is explained. testscript has kill,
// stop and wait of its own.
var vocabulary = []word{
	{"lab", "[solo] [reroute] [precise] [silent] [KEY=VALUE ...]", "brings up the lab: nodes, seed, interval, timeout, fall, rise, ttl, return, disk=N(k|M)iB, extra=FILE, zone=FILE, cluster.KEY, node.KEY, program.NODE=FILE, env.NODE=NAME=VALUE", (*line).bringUp},
	{"cut", "LINK | uplink SITE | cable NODE  [from END]", "frames vanish, the carrier stays", (*line).cut},
	{"mend", "LINK | uplink SITE | cable NODE  [from END]", "ends a cut", (*line).mend},
	{"impair", "LINK | uplink SITE | cable NODE  [from END] delay=TIME jitter=TIME loss=N% duplicate=N% reorder=N% bandwidth=N(k|M|G)bit/s queue=TIME", "what is not named is as on a perfect line", (*line).impair},
	{"restore", "LINK ...", "undoes impair", (*line).restore},
	{"cutoff", "SITE ...", "cuts all links of a site to others", eachSite((*Site).CutOff)},
	{"reconnect", "SITE ...", "mends them", eachSite((*Site).Reconnect)},
	{"balancers", "SITE up | down | 503 | silent", "well; killed (refusing); broken; not heard", (*line).setBalancers},
	{"flap", "SITE every TIME for TIME", "balancers answer 503, then well, in turn", (*line).flap},
	{"crash", "site SITE ... | node NODE ...", "ends nodes, and with site balancers too, by SIGKILL", (*line).crash},
	{"revive", "SITE ...", "starts all of a site again", eachSite((*Site).Revive)},
	{"start", "NODE ... [-- ARGUMENT ...]", "starts nodes, with more arguments to serve, and waits until they answer", (*line).start},
	{"halt", "NODE ...", "ends nodes by SIGTERM", eachNode((*Node).Stop)},
	{"empty", "NODE ...", "takes away their data folders", eachNode((*Node).EmptyDataDir)},
	{"disk", "NODE full | free | readonly | writable", "of a lab with disk=SIZE; readonly while the node does not run", (*line).setDisk},
	{"freeze", "NODE ...", "SIGSTOP", eachNode((*Node).Pause)},
	{"thaw", "NODE ...", "SIGCONT", eachNode((*Node).Resume)},
	{"isolate", "NODE ...", "cuts nodes off from all but the clients of their site", eachNode((*Node).Isolate)},
	{"deafen", "NODE ...", "they hear nothing", eachNode((*Node).Deafen)},
	{"mute", "NODE ...", "they are not heard", eachNode((*Node).Mute)},
	{"rejoin", "NODE ...", "ends isolate, deafen and mute", eachNode((*Node).Rejoin)},
	{"sleep", "TIME", "", (*line).sleep},
	{"watch", "NAME", "begins to ask all nodes that run, every 5 ms", (*line).watch},
	{"expect", "answer NAME ADDRESS ... [within TIME] [for TIME] [on NODE ...]\n" +
		"        output REGEXP [within TIME] [for TIME] pharos NODE COMMAND ...\n" +
		"        moves NAME at most N [on NODE ...]\n" +
		"        agreement [within TIME] [for TIME] [on NODE ...]", "now, or until then, or all the time; moves are changes that watch saw, agreement is the same revision", (*line).expect},
	{"pharos", "[exit=N] NODE COMMAND ...", "a command to a node; its output is compared by stdout REGEXP", (*line).pharos},
	{"show", "", "what each node answers and what is cut", (*line).show},
}

// Words are all that a line may begin with.
func Words() []string {
	var all []string
	for _, w := range vocabulary {
		all = append(all, w.name)
	}
	return all
}

// Help explains all words, a line each.
func Help() string {
	var b strings.Builder
	for _, w := range vocabulary {
		fmt.Fprintf(&b, "%s %s\n", w.name, w.usage)
		if w.help != "" {
			fmt.Fprintf(&b, "        — %s\n", w.help)
		}
	}
	return b.String()
}

func eachSite(f func(*Site)) func(*line) error {
	return func(l *line) error {
		for {
			s, err := l.site()
			if err != nil {
				return err
			}
			if f(s); len(l.rest) == 0 {
				return nil
			}
		}
	}
}

func eachNode(f func(*Node)) func(*line) error {
	return func(l *line) error {
		for {
			n, err := l.node()
			if err != nil {
				return err
			}
			if f(n); len(l.rest) == 0 {
				return nil
			}
		}
	}
}

func (l *line) start() error {
	var args []string
	if i := slices.Index(l.rest, "--"); i >= 0 {
		l.rest, args = l.rest[:i], l.rest[i+1:]
	}
	return eachNode(func(n *Node) { n.Start(args...) })(l)
}

func (l *line) bringUp() error {
	if l.lab != nil {
		return errors.New("there is a lab already")
	}
	t := l.stage.start
	keys, values := l.settings()
	for _, key := range keys {
		if err := l.stage.setTopology(&t, key, values[key]); err != nil {
			return err
		}
	}
	l.stage.lab = New(l.stage.t, t)
	return nil
}

// setTopology takes one setting of the word lab.
func (s *Stage) setTopology(t *Topology, key, value string) (err error) {
	switch key {
	case "solo":
		t.Solo = true
	case "reroute":
		t.Reroute = true
	case "silent":
		t.Silent = true
	case "precise":
		t.Mode = wan.Precise
	case "nodes":
		var n int
		if n, err = strconv.Atoi(value); err == nil {
			*t = t.WithNodes(n)
		}
	case "seed":
		t.Seed, err = strconv.ParseUint(value, 10, 64)
	case "interval":
		t.Check.Interval, err = parseDuration(key, value)
	case "timeout":
		t.Check.Timeout, err = parseDuration(key, value)
	case "fall":
		t.Check.Fall, err = strconv.Atoi(value)
	case "rise":
		t.Check.Rise, err = strconv.Atoi(value)
	case "ttl":
		t.TTL = value
	case "return":
		t.Return = value
	case "disk":
		t.Disk, err = parseOctets(value)
	case "extra":
		t.Extra, err = s.read(value)
	case "zone":
		t.Zone, err = s.read(value)
	default:
		if name, is := strings.CutPrefix(key, "cluster."); is {
			t.Cluster = with(t.Cluster, name, value)
		} else if name, is := strings.CutPrefix(key, "node."); is {
			t.Node = with(t.Node, name, value)
		} else if name, is := strings.CutPrefix(key, "program."); is {
			err = t.setNode(name, func(n *NodeSpec) { n.Program = value })
		} else if name, is := strings.CutPrefix(key, "env."); is {
			err = t.setNode(name, func(n *NodeSpec) { n.Env = append(n.Env, value) })
		} else {
			err = errors.New("no such setting")
		}
	}
	if err != nil {
		return fmt.Errorf("%w: %s=%s: %w", errUsage, key, value, err)
	}
	return nil
}

// setNode changes what is special of a node, in this topology alone.
func (t *Topology) setNode(name string, change func(*NodeSpec)) error {
	for i, s := range t.Sites {
		j := slices.IndexFunc(s.Nodes, func(n NodeSpec) bool { return n.Name == name })
		if j < 0 {
			continue
		}
		t.Sites = slices.Clone(t.Sites)
		t.Sites[i].Nodes = slices.Clone(s.Nodes)
		change(&t.Sites[i].Nodes[j])
		return nil
	}
	return fmt.Errorf("no node %q", name)
}

// with is a copy of a map that has one more key.
func with(m map[string]string, key, value string) map[string]string {
	all := map[string]string{}
	maps.Copy(all, m)
	all[key] = value
	return all
}

func (l *line) cut() error {
	return l.setCut((*Link).Cut, (*Link).CutFrom)
}

func (l *line) mend() error {
	return l.setCut((*Link).Mend, (*Link).MendFrom)
}

func (l *line) setCut(both func(*Link), one func(*Link, string)) error {
	k, err := l.link()
	if err != nil {
		return err
	}
	from, err := l.from()
	if err != nil {
		return err
	}
	if err := l.end(); err != nil {
		return err
	}
	if from == "" {
		both(k)
	} else {
		one(k, from)
	}
	return nil
}

func (l *line) impair() error {
	k, err := l.link()
	if err != nil {
		return err
	}
	from, err := l.from()
	if err != nil {
		return err
	}
	to, err := l.impairment()
	if err != nil {
		return err
	}
	if from == "" {
		k.Set(to)
	} else {
		k.SetFrom(from, to)
	}
	return nil
}

func (l *line) restore() error {
	for {
		k, err := l.link()
		if err != nil {
			return err
		}
		if k.Restore(); len(l.rest) == 0 {
			return nil
		}
	}
}

func (l *line) setBalancers() error {
	s, err := l.site()
	if err != nil {
		return err
	}
	state, err := l.next("up, down, 503 or silent")
	if err != nil {
		return err
	}
	switch state {
	case "up":
		s.HealBalancers()
	case "down":
		s.KillBalancers()
	case "503":
		s.Break503()
	case "silent":
		s.SilenceBalancers()
	default:
		return fmt.Errorf("%w: %q: expected up, down, 503 or silent", errUsage, state)
	}
	return l.end()
}

func (l *line) setDisk() error {
	n, err := l.node()
	if err != nil {
		return err
	}
	state, err := l.next("full, free, readonly or writable")
	if err != nil {
		return err
	}
	switch state {
	case "full":
		n.FillDisk()
	case "free":
		n.FreeDisk()
	case "readonly":
		n.ReadOnlyDisk()
	case "writable":
		n.WritableDisk()
	default:
		return fmt.Errorf("%w: %q: expected full, free, readonly or writable", errUsage, state)
	}
	return l.end()
}

func (l *line) flap() error {
	s, err := l.site()
	if err != nil {
		return err
	}
	if !l.is("every") {
		return fmt.Errorf("%w: every is missing", errUsage)
	}
	every, err := l.duration("every")
	if err != nil {
		return err
	}
	if !l.is("for") {
		return fmt.Errorf("%w: for is missing", errUsage)
	}
	during, err := l.duration("for")
	if err != nil {
		return err
	}
	s.Flap(every, during)
	return l.end()
}

func (l *line) crash() error {
	switch {
	case l.is("site"):
		return eachSite((*Site).Kill)(l)
	case l.is("node"):
		return eachNode((*Node).Kill9)(l)
	}
	return fmt.Errorf("%w: site or node is missing", errUsage)
}

func (l *line) sleep() error {
	d, err := l.duration("a time")
	if err != nil {
		return err
	}
	<-time.After(d)
	return l.end()
}

func (l *line) watch() error {
	name, err := l.next("a name")
	if err != nil {
		return err
	}
	for _, n := range l.lab.nodes {
		if n.Running() {
			l.stage.watches = append(l.stage.watches, n.Watch(name, watchEvery))
		}
	}
	return l.end()
}

func (l *line) expect() error {
	switch {
	case l.is("answer"):
		return l.expectAnswer()
	case l.is("output"):
		return l.expectOutput()
	case l.is("moves"):
		return l.expectMoves()
	case l.is("agreement"):
		return l.expectAgreement()
	}
	return fmt.Errorf("%w: answer, output, moves or agreement is missing", errUsage)
}

func (l *line) expectAgreement() error {
	m, err := l.manner()
	if err != nil {
		return err
	}
	if err := l.end(); err != nil {
		return err
	}
	m.expect(l.lab, l.lab.Agree(m.on...))
	return nil
}

func (l *line) expectAnswer() error {
	name, err := l.next("a name")
	if err != nil {
		return err
	}
	want := l.things()
	if len(want) == 0 {
		return fmt.Errorf("%w: an address, SERVFAIL, NXDOMAIN or NODATA is missing", errUsage)
	}
	m, err := l.manner()
	if err != nil {
		return err
	}
	if err := l.end(); err != nil {
		return err
	}
	m.expect(l.lab, l.lab.Answers(name, strings.Join(want, " "), m.on...))
	return nil
}

func (l *line) expectOutput() error {
	text, err := l.next("a regular expression")
	if err != nil {
		return err
	}
	want, err := regexp.Compile("(?m)" + text)
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	m, err := l.manner()
	if err != nil {
		return err
	}
	if !l.is("pharos") {
		return fmt.Errorf("%w: pharos is missing", errUsage)
	}
	n, err := l.node()
	if err != nil {
		return err
	}
	m.expect(l.lab, func() error {
		out := n.CLI(l.rest...)
		if !want.MatchString(out.Stdout) {
			return fmt.Errorf("no match for %s in (exit %d):\n%s%s", text, out.Code, out.Stdout, out.Stderr)
		}
		return nil
	})
	return nil
}

func (l *line) expectMoves() error {
	name, err := l.next("a name")
	if err != nil {
		return err
	}
	if !l.is("at") || !l.is("most") {
		return fmt.Errorf("%w: at most is missing", errUsage)
	}
	text, err := l.next("a number")
	if err != nil {
		return err
	}
	most, err := strconv.Atoi(text)
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	m, err := l.manner()
	if err != nil {
		return err
	}
	seen := 0
	for _, w := range l.stage.watches {
		if w.name != name || len(m.on) > 0 && !slices.Contains(m.on, w.node) {
			continue
		}
		seen++
		if moves := w.Moves(); len(moves) > most {
			return fmt.Errorf("node %s: %d moves of %s: %v", w.node.Name(), len(moves), name, moves)
		}
	}
	if seen == 0 {
		return fmt.Errorf("nobody watched %s", name)
	}
	return l.end()
}

func (l *line) pharos() error {
	first, err := l.next("a node")
	if err != nil {
		return err
	}
	want := 0
	if text, is := strings.CutPrefix(first, "exit="); is {
		if want, err = strconv.Atoi(text); err != nil {
			return fmt.Errorf("%w: %w", errUsage, err)
		}
		if first, err = l.next("a node"); err != nil {
			return err
		}
	}
	out := l.lab.Node(first).CLI(l.rest...)
	_, _ = fmt.Fprint(l.out, out.Stdout)
	_, _ = fmt.Fprint(l.errOut, out.Stderr)
	if out.Code != want {
		return fmt.Errorf("exit status %d, want %d", out.Code, want)
	}
	return nil
}

func (l *line) show() error {
	for _, n := range l.lab.nodes {
		state := "does not run"
		if n.Running() {
			if a, err := n.Ask("www.shop.example."); err != nil {
				state = err.Error()
			} else {
				state = fmt.Sprintf("%s (TTL %s)", a, a.TTL)
			}
		}
		_, _ = fmt.Fprintf(l.out, "%-10s %-8s %s\n", n.Name(), n.Site().Name(), state)
	}
	var links []string
	for _, k := range l.lab.links {
		links = append(links, k.String())
	}
	_, _ = fmt.Fprintf(l.out, "links: %s\n", strings.Join(links, ", "))
	return l.end()
}
