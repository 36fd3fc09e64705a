package simulation

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"
)

// Generate draws a schedule. The same seed draws the same.
func Generate(seed uint64) *Schedule {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 3)), s: &Schedule{Seed: seed}}
	g.topology()
	g.flavour()
	at := 6*time.Second + g.span(4*time.Second)
	if g.IntN(8) == 0 {
		at = g.disaster(at)
	}
	for n := 2 + g.IntN(14); n > 0 && at < longest; n-- {
		g.act(at)
		at += g.gap()
	}
	g.s.End = max(at, g.last) + g.span(4*time.Second)
	return g.s
}

const longest = 110 * time.Second

type generator struct {
	*rand.Rand
	s      *Schedule
	last   time.Duration
	nodes  []string
	sites  []string
	lossy  bool // schedules with loss can't be judged as strictly
	orders bool
	clocks bool
}

func (g *generator) one(list ...string) string { return list[g.IntN(len(list))] }

func (g *generator) span(d time.Duration) time.Duration {
	return time.Duration(g.Int64N(int64(d))).Round(10 * time.Millisecond)
}

// gap is the time to the next action: often none to speak of, sometimes longer than a node may be away.
func (g *generator) gap() time.Duration {
	switch n := g.IntN(20); {
	case n < 7:
		return g.span(time.Second)
	case n < 13:
		return g.span(5 * time.Second)
	case n < 19:
		return g.span(15 * time.Second)
	}
	return g.span(45 * time.Second)
}

func (g *generator) topology() {
	count := []int{2, 3, 3, 3, 3, 3, 4, 4, 5}[g.IntN(9)]
	most := 1 + g.IntN(3) // nodes of a site
	if g.IntN(2) == 0 {
		most = 1
	}
	requires := g.IntN(2) == 0
	for i := range count {
		site := Site{Name: string(rune('a' + i)), Metro: "city", Role: "production", Nodes: 1 + g.IntN(most), Requires: requires && g.IntN(4) > 0}
		if i >= 2 {
			switch g.IntN(4) {
			case 0:
				site.Role = "witness"
			case 1:
				site.Metro, site.Role = "far", "production"
			case 2:
				site.Metro, site.Role = "far", "standby"
			case 3:
				site.Role = g.one("production", "standby")
			}
		}
		g.s.Sites = append(g.s.Sites, site)
		g.sites = append(g.sites, site.Name)
		for n := 1; n <= site.Nodes; n++ {
			g.nodes = append(g.nodes, site.Name+strconv.Itoa(n))
		}
	}
	g.s.Return = g.one("hold 5s", "hold 5s", "hold 10s", "hold 0s", "manual", "ramp 10s")
	g.s.Steer = g.one("failover", "failover", "active-active")
}

func (g *generator) flavour() {
	g.lossy = g.IntN(5) == 0
	g.orders = g.IntN(3) > 0
	g.clocks = g.IntN(4) == 0
	for _, n := range g.nodes {
		if g.clocks && g.IntN(3) == 0 {
			g.add(0, "clock", n, g.skew())
		}
	}
	for i, a := range g.sites {
		for _, b := range g.sites[i+1:] {
			if g.lossy && g.IntN(2) == 0 {
				g.add(5*time.Second, "loss", a, b, strconv.Itoa(3+g.IntN(23))+"%")
			}
		}
	}
}

func (g *generator) skew() string {
	return g.one("-1h", "1h", "-5s", "5s", "-200ms", "200ms", "90s", "-90s", "0s")
}

// disaster takes all sites but some away, for long, and has a person tell the survivors.
func (g *generator) disaster(at time.Duration) time.Duration {
	left := 1
	if len(g.sites) > 3 {
		left += g.IntN(2)
	}
	sites := slices.Clone(g.sites)
	g.Shuffle(len(sites), func(i, j int) { sites[i], sites[j] = sites[j], sites[i] })
	alive, gone := sites[:left], sites[left:]
	for _, b := range gone {
		for _, a := range alive {
			g.add(at, "cut", a, b)
		}
		for _, n := range g.nodes {
			if n[:1] == b && g.IntN(2) == 0 {
				g.add(at+g.span(time.Second), "kill", n)
				if g.IntN(2) == 0 {
					g.add(at+rejoinAfter+g.span(30*time.Second), "start", n)
				}
			}
		}
	}
	at += g.span(12 * time.Second)
	teller := alive[0] + "1"
	g.add(at, "order", append([]string{teller, "lost"}, gone...)...)
	at += g.span(4 * time.Second)
	if g.IntN(2) == 0 {
		g.add(at, "order", teller, "failover", g.one("city", "far"))
	}
	at += g.span(10 * time.Second)
	g.add(at, g.one("refuse", "silence"), alive[g.IntN(left)])
	at += 8*time.Second + g.span(20*time.Second)
	if g.IntN(2) == 0 {
		g.add(at, "answer", alive[g.IntN(left)])
		at += 5*time.Second + g.span(30*time.Second)
	}
	return at
}

func (g *generator) add(at time.Duration, verb string, args ...string) {
	i := len(g.s.Actions)
	for i > 0 && g.s.Actions[i-1].At > at {
		i--
	}
	g.s.Actions = append(g.s.Actions, Action{})
	copy(g.s.Actions[i+1:], g.s.Actions[i:])
	g.s.Actions[i] = Action{at, verb, args}
	g.last = max(g.last, at)
}

func (g *generator) site() string { return g.sites[g.IntN(len(g.sites))] }
func (g *generator) node() string { return g.nodes[g.IntN(len(g.nodes))] }

// pair is two different sites, or sometimes nodes.
func (g *generator) pair() (string, string) {
	list := g.sites
	if g.IntN(4) == 0 {
		list = g.nodes
	}
	a, b := g.IntN(len(list)), g.IntN(len(list)-1)
	if b >= a {
		b++
	}
	return list[a], list[b]
}

// back is when something ends again; false: not before the heal.
func (g *generator) back(at time.Duration) (time.Duration, bool) {
	switch g.IntN(4) {
	case 0:
		return 0, false
	case 1:
		return at + g.span(3*time.Second), true
	case 2:
		return at + g.span(40*time.Second), true
	}
	return at + g.span(12*time.Second), true
}

// act draws one misfortune, with its end.
func (g *generator) act(at time.Duration) {
	if g.orders && g.IntN(3) == 0 {
		g.order(at)
		return
	}
	switch n := g.IntN(20); {
	case n < 4:
		g.balancer(at)
	case n < 5:
		g.flap(at)
	case n < 8:
		a, b := g.pair()
		g.add(at, g.one("cut", "cut", "oneway"), a, b)
		if end, ok := g.back(at); ok {
			g.add(end, "mend", a, b)
		}
	case n < 9:
		g.siteAlone(at)
	case n < 11:
		g.nodeTrouble(at)
	case n < 14:
		g.crash(at)
	case n < 15 && g.lossy:
		a, b := g.pair()
		g.add(at, "loss", a[:1], b[:1], strconv.Itoa(5+g.IntN(26))+"%")
	case n < 16:
		site := g.site()
		g.add(at, "uplink", site, "down")
		if end, ok := g.back(at); ok {
			g.add(end, "uplink", site, "up")
		}
	default:
		g.balancer(at)
	}
}

func (g *generator) balancer(at time.Duration) {
	site := g.site()
	g.add(at, g.one("refuse", "silence"), site)
	if end, ok := g.back(at); ok {
		g.add(end, "answer", site)
	}
}

func (g *generator) flap(at time.Duration) {
	site, how := g.site(), g.one("refuse", "silence")
	down, up := 500*time.Millisecond+g.span(8*time.Second), 500*time.Millisecond+g.span(12*time.Second)
	n := 2 + g.IntN(5)
	if g.IntN(4) == 0 { // as fast as it can be, for long
		n, down, up = 12, 3500*time.Millisecond+g.span(time.Second), 3500*time.Millisecond+g.span(6*time.Second)
	}
	for ; n > 0; n-- {
		g.add(at, how, site)
		g.add(at+down, "answer", site)
		at += down + up
	}
}

// siteAlone cuts a site off from all others.
func (g *generator) siteAlone(at time.Duration) {
	site, verb := g.site(), g.one("cut", "cut", "oneway")
	end, ok := g.back(at)
	for _, other := range g.sites {
		if other == site {
			continue
		}
		g.add(at, verb, site, other)
		if ok {
			g.add(end, "mend", site, other)
		}
	}
}

func (g *generator) nodeTrouble(at time.Duration) {
	node := g.node()
	switch g.IntN(5) {
	case 0:
		g.add(at, "stop", node, (200*time.Millisecond + g.span(12*time.Second)).String())
		return
	case 1:
		g.add(at, "stall", node, (200*time.Millisecond + g.span(8*time.Second)).String())
		return
	}
	g.add(at, g.one("deaf", "mute", "isolate"), node)
	if end, ok := g.back(at); ok {
		g.add(end, "restore", node)
	}
}

// crash kills a node, a site, or all, and starts them again, perhaps with an empty folder or another clock.
func (g *generator) crash(at time.Duration) {
	victims := []string{g.node()}
	switch g.IntN(8) {
	case 0:
		victims = g.nodes
	case 1, 2:
		site := g.site()
		victims = nil
		for _, n := range g.nodes {
			if n[:1] == site {
				victims = append(victims, n)
			}
		}
	}
	empty := g.IntN(5) == 0 && len(victims) < len(g.nodes)
	end, ok := g.back(at)
	if g.IntN(6) == 0 {
		end, ok = at+rejoinAfter+g.span(15*time.Second), true
	}
	for _, n := range victims {
		if empty {
			g.add(at, "empty", n)
		} else {
			g.add(at, "kill", n)
		}
		if g.clocks && g.IntN(2) == 0 {
			g.add(at, "clock", n, g.skew())
		}
		if ok {
			g.add(end+g.span(2*time.Second), "start", n)
		}
	}
}

func (g *generator) order(at time.Duration) {
	node := g.node()
	words := map[int]func() []string{
		0: func() []string { return []string{"drain", g.site()} },
		1: func() []string { return []string{"drain", g.site(), "for", fmt.Sprintf("%ds", 2+g.IntN(20))} },
		2: func() []string { return []string{"undrain", g.site()} },
		3: func() []string { return []string{"override", "site", g.site()} },
		4: func() []string {
			return []string{"override", "site", g.site(), "for", fmt.Sprintf("%ds", 2+g.IntN(20))}
		},
		5:  func() []string { return []string{"override", "clear"} },
		6:  func() []string { return []string{"lost", g.site()} },
		7:  func() []string { return []string{"lost", g.site()} },
		8:  func() []string { return []string{"readmit", g.site()} },
		9:  func() []string { return []string{"failover", g.one("city", "far")} },
		10: func() []string { return []string{"failover", g.one("city", "far")} },
		11: func() []string { return []string{"return", g.site()} },
		12: func() []string { return []string{"rejoin"} },
		13: func() []string { return []string{"drain", g.site(), "break", "last-endpoint"} },
		14: func() []string { return []string{"lost", g.sites[0], g.sites[1]} },
		15: func() []string {
			return []string{"override", "pin", "203.0.113." + strconv.Itoa(10*(1+g.IntN(len(g.sites))))}
		},
	}[g.IntN(16)]()
	g.add(at, "order", append([]string{node}, words...)...)
	for g.IntN(3) == 0 { // the same on another side, or its end, or again once it is known
		at += g.span([]time.Duration{300 * time.Millisecond, 2 * time.Second, 15 * time.Second}[g.IntN(3)])
		g.add(at, "order", append([]string{g.node()}, g.contrary(words)...)...)
	}
}

// contrary is the same order, or one of the same key that says something else.
func (g *generator) contrary(words []string) []string {
	other := map[string][]string{
		"drain": {"undrain", words[min(1, len(words)-1)]}, "undrain": {"drain", words[min(1, len(words)-1)]},
		"override": {"override", "site", g.site()}, "lost": {"readmit", words[min(1, len(words)-1)]},
		"readmit": {"lost", words[min(1, len(words)-1)]}, "failover": {"failover", g.one("city", "far")},
	}[words[0]]
	if other == nil || g.IntN(2) == 0 {
		return words
	}
	return other
}
