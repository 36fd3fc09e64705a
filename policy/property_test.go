package policy

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// world is one random configuration under random events, with what a node would have on disk.
type world struct {
	t       *rapid.T
	cfg     *Config
	s       *State
	now     time.Time
	disk    map[EntryKey]Entry
	health  map[TargetID]HealthEntry
	wake    time.Time
	blinded bool // it suspected itself once, so memory and disk may know different things
}

func genConfig(t *rapid.T) *Config {
	cfg := emptyConfig()
	metros := []MetroID{"city", "city", "far", "far"}
	for i := range rapid.IntRange(2, 4).Draw(t, "sites") {
		site := Site{ID: SiteID(fmt.Sprintf("site-%d", i)), Metro: metros[i]}
		if i >= 2 {
			site.Role = rapid.SampledFrom([]SiteRole{Production, Standby, Standby}).Draw(t, "role")
		}
		if rapid.Bool().Draw(t, "net") {
			site.Networks = []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i), 0, 0}), 16)}
		}
		if rapid.IntRange(0, 3).Draw(t, "requires") == 0 {
			id := TargetID(fmt.Sprintf("need-%d", i))
			cfg.Targets[id] = Target{ID: id, Site: site.ID, Label: string(id), Interval: time.Second, Fall: 2, Rise: 2}
			site.Requires = []Requirement{{Name: "wan", Target: id}}
		}
		cfg.Sites = append(cfg.Sites, site)
	}
	cfg.Nodes[0].Site = "site-0"
	for i := range rapid.IntRange(1, 3).Draw(t, "services") {
		cfg.Services = append(cfg.Services, genService(t, &cfg, i))
	}
	if rapid.Bool().Draw(t, "gate") {
		cfg.Rules = append(cfg.Rules, Rule{Name: "freeze", GateOpen: rapid.Bool().Draw(t, "open")})
	}
	if rapid.Bool().Draw(t, "assert") {
		cfg.Rules = append(cfg.Rules, Rule{Name: "two", Service: "svc-0", AtLeast: 2})
	}
	return &cfg
}

func genService(t *rapid.T, cfg *Config, i int) Service {
	sv := Service{
		ID: ServiceID(fmt.Sprintf("svc-%d", i)), Names: []string{fmt.Sprintf("a%d.example.", i), fmt.Sprintf("b%d.example.", i)},
		Steer: Steering(rapid.IntRange(0, 3).Draw(t, "steer")), ByRole: rapid.Bool().Draw(t, "byRole"),
		TTL: 10 * time.Second, TTLFloor: 2 * time.Second,
		AllDown: AllDown(rapid.IntRange(0, 3).Draw(t, "allDown")), MinHealthy: rapid.IntRange(0, 2).Draw(t, "min"),
		Return: Return{
			Policy: ReturnPolicy(rapid.IntRange(0, 2).Draw(t, "policy")), Hold: time.Duration(rapid.IntRange(0, 20).Draw(t, "hold")) * time.Second,
			Over: time.Duration(rapid.IntRange(1, 40).Draw(t, "over")) * time.Second, AfterSiteLossSame: rapid.Bool().Draw(t, "same"),
		},
	}
	for e := range rapid.IntRange(1, 5).Draw(t, "endpoints") {
		first := 0
		if e > 0 { // the first stands in a production site, as internal/config asks for
			first = rapid.IntRange(0, len(cfg.Sites)-1).Draw(t, "site")
		}
		sites := []int{first}
		if first == 0 && rapid.IntRange(0, 4).Draw(t, "shared") == 0 {
			sites = append(sites, 1)
		}
		addr := netip.AddrFrom4([4]byte{203, 0, byte(i), byte(e)})
		ep := Endpoint{ID: EndpointID(addr.String()), Addresses: []netip.Addr{addr}, Weight: uint32(rapid.IntRange(0, 3).Draw(t, "weight"))}
		if rapid.Bool().Draw(t, "v6") {
			ep.Addresses = append(ep.Addresses, netip.MustParseAddr(fmt.Sprintf("2001:db8:%d::%d", i, e)))
		}
		for _, n := range sites {
			at := EndpointSite{Site: cfg.Sites[n].ID}
			if rapid.IntRange(0, 5).Draw(t, "checked") > 0 {
				id := TargetID(fmt.Sprintf("t-%d-%d-%d", i, e, n))
				cfg.Targets[id] = Target{ID: id, Site: at.Site, Label: string(id), Interval: time.Second, Fall: 2, Rise: 2}
				at.Targets = []TargetID{id}
			}
			ep.At = append(ep.At, at)
		}
		sv.Endpoints = append(sv.Endpoints, ep)
	}
	return sv
}

func (w *world) effects(fx Effects) {
	for _, e := range fx.Store {
		if old, ok := w.disk[e.EntryKey()]; !ok || e.Replaces(old) {
			w.disk[e.EntryKey()] = e
		}
	}
	for _, k := range fx.Drop {
		delete(w.disk, k)
	}
	for _, h := range fx.Health {
		w.health[h.Target] = h
	}
	if !fx.Wake.IsZero() && !fx.Wake.After(w.now) {
		w.t.Fatalf("wake at %v is not after %v", fx.Wake, w.now)
	}
	w.wake = fx.Wake
	w.blinded = w.blinded || !w.s.suspect.IsZero()
}

func (w *world) stored() Stored {
	st := Stored{Stamped: w.now}
	for _, e := range w.disk {
		st.Entries = append(st.Entries, e)
	}
	for _, h := range w.health {
		st.Health = append(st.Health, h)
	}
	return st
}

// step takes an event in twice, on the state and on a copy, and wants the same effects.
func (w *world) step(e Event) {
	twin, before := w.s.fork(), w.s.rev
	fx := Step(w.s, e, w.now)
	again := Step(twin, e, w.now)
	opts := cmp.Options{
		cmpopts.IgnoreUnexported(Revision{}), cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}), cmpopts.EquateEmpty(),
	}
	if diff := cmp.Diff(fx, again, opts); diff != "" {
		w.t.Fatalf("same state and event, different effects:\n%s", diff)
	}
	w.effects(fx)
	if fx.Revision != nil {
		w.checkRevision(before, fx.Revision)
	}
}

// checkRevision wants pointers kept where answers did not change, and Changes to name the rest.
func (w *world) checkRevision(before, after *Revision) {
	if after.Number != before.Number+1 {
		w.t.Fatalf("revision %d follows %d", after.Number, before.Number)
	}
	changed := map[string]bool{}
	for _, c := range after.Changes(before) {
		changed[c.Name] = true
		if c.Before != nil && c.After != nil && equalAnswers(c.Before, c.After) && before.Digest == after.Digest {
			w.t.Fatalf("%s did not change and has a new pointer", c.Name)
		}
	}
	for name, a := range after.Answers {
		if (before.Answers[name] != a) != changed[name] {
			w.t.Fatalf("Changes says %v of %s", changed[name], name)
		}
	}
}

func (w *world) observe() {
	bias := rapid.SampledFrom([]string{"good", "bad", "mixed"}).Draw(w.t, "bias")
	var obs Observed
	for _, tg := range w.s.ix.targets {
		o := Observation{Target: tg.ID, At: w.now}
		roll := rapid.IntRange(0, 9).Draw(w.t, "roll")
		switch {
		case roll == 9:
			continue
		case bias == "good" && roll < 8, bias == "mixed" && roll < 5:
		case roll%2 == 0:
			o.Outcome = Timeout
		default:
			o.Outcome = Refused
		}
		obs = append(obs, o)
	}
	for range rapid.IntRange(1, 3).Draw(w.t, "rounds") {
		w.step(obs)
		w.now = w.now.Add(time.Second)
		w.tick()
	}
}

// tick lets the ticks come that were asked for until now.
func (w *world) tick() {
	end := w.now
	for i := 0; !w.wake.IsZero() && !w.wake.After(end); i++ {
		if i > 10000 {
			w.t.Fatal("ticks without end")
		}
		w.now = w.wake
		w.step(Tick{})
	}
	w.now = end
}

func (w *world) drawOrder() Order {
	sites := []SiteID{"site-0", "site-1", "site-2", "site-3"}
	svc := rapid.IntRange(0, len(w.cfg.Services)-1).Draw(w.t, "svc")
	id := string(w.cfg.Services[svc].ID)
	site := rapid.SampledFrom(sites[:len(w.cfg.Sites)]).Draw(w.t, "onto")
	o := Order{Author: "ann", Reason: "test"}
	switch rapid.IntRange(0, 6).Draw(w.t, "order") {
	case 0, 1:
		o.Kind = KindOverride
		o.Key = rapid.SampledFrom([]string{"all", "service/" + id, "name/a" + id[4:] + ".example."}).Draw(w.t, "key")
		o.Clear = rapid.Bool().Draw(w.t, "clear")
		if !o.Clear && rapid.Bool().Draw(w.t, "pin") {
			o.Override = &Override{Addresses: w.cfg.Services[svc].Endpoints[0].Addresses[:1], KeepOther: rapid.Bool().Draw(w.t, "keep")}
		} else if !o.Clear {
			o.Override = &Override{Site: site}
		}
	case 2, 3:
		o.Kind = KindDrain
		o.Key = rapid.SampledFrom([]string{"site/" + string(site), "endpoint/" + id + "/" + string(site)}).Draw(w.t, "key")
		o.Clear = rapid.Bool().Draw(w.t, "clear")
	case 4:
		o.Kind, o.Key = KindReturn, id
	case 5:
		o.Kind, o.Key, o.GateOpen = KindGate, "freeze", rapid.Bool().Draw(w.t, "open")
	case 6:
		o.Kind, o.Key = KindAck, "all-down/"+id
	}
	if !o.Clear && (o.Kind == KindOverride || o.Kind == KindDrain) && rapid.Bool().Draw(w.t, "expires") {
		o.For = time.Duration(rapid.IntRange(1, 60).Draw(w.t, "for")) * time.Second
	}
	return o
}

// order judges a random order, with every rule broken at times, and gives it if it may be given.
func (w *world) order() {
	o := w.drawOrder()
	before, entries := snapshot(w.s), len(w.s.entries)
	p, err := w.s.Judge(o, w.now)
	var refusal *Refusal
	if errors.As(err, &refusal) && refusal.Break && rapid.Bool().Draw(w.t, "break") {
		o.BreakGlass = append(o.BreakGlass, builtinRules...)
		for _, r := range w.cfg.Rules {
			o.BreakGlass = append(o.BreakGlass, r.Name)
		}
		p, err = w.s.Judge(o, w.now)
	}
	if snapshot(w.s) != before || len(w.s.entries) != entries {
		w.t.Fatalf("judging %+v changed the state", o)
	}
	if err != nil {
		return
	}
	for _, e := range p.Entries {
		w.disk[e.EntryKey()] = e
	}
	w.step(Ordered(p.Entries))
	for _, n := range p.Names {
		if got := w.s.answerText(w.s.rev.Answers[n.Name]); got != n.After && n.Before != n.After {
			w.t.Fatalf("%+v: %s was to be %s and is %s", o, n.Name, n.After, got)
		}
	}
	for _, e := range p.Entries {
		if have := w.s.entries[e.EntryKey()]; have.Stamp != e.Stamp {
			w.t.Fatalf("the order %+v was beaten by %+v, which it knew", e, have)
		}
	}
}

// foreign is an entry that only later issues' commands write.
func (w *world) foreign() {
	svc := rapid.SampledFrom(w.cfg.Services).Draw(w.t, "svc")
	at := rapid.SampledFrom(svc.Endpoints).Draw(w.t, "to").At[0].Site
	metro := w.s.ix.sites[w.s.ix.siteOf[at]].Metro
	e := Entry{Kind: KindActiveMetro, Key: string(svc.ID), Author: "bob", Value: encode(ActiveMetro{Metro: metro})}
	if rapid.Bool().Draw(w.t, "lost") {
		e = Entry{Kind: KindSiteLost, Key: "site-1", Author: "bob"}
		if old, ok := w.s.entries[e.EntryKey()]; ok && !old.Deleted {
			e.Deleted, e.Ends = true, old.Stamp
		}
	}
	e.Stamp = Stamp{Wall: w.now.UnixMilli(), Node: "other"}
	if old, ok := w.s.entries[e.EntryKey()]; ok && !e.Replaces(old) {
		return
	}
	w.disk[e.EntryKey()] = e
	w.step(Ordered{e})
}

// restart starts anew from disk, and wants the same answers. What fails and was never judged is not on the disk: until it
// is looked at again, which a node waits for before it answers, it is as if it had never been probed.
func (w *world) restart() {
	w.step(Tick{})
	was := w.s.rev.Digest
	unsure := slices.ContainsFunc(w.s.targets, func(t target) bool { return t.vote() == unsure })
	s, fx := Start(w.cfg, w.stored(), w.now)
	if !w.blinded && !unsure && fx.Revision.Digest != was {
		w.t.Fatalf("after a restart:\n%s\nbefore:\n%s", snapshot(s), snapshot(w.s))
	}
	w.s = s
	w.effects(fx)
}

func snapshot(s *State) string {
	var text string
	for _, name := range s.names() {
		data, _ := json.Marshal(s.rev.Answers[name])
		text += string(data) + "\n"
	}
	return text
}

// check wants what must hold after every step.
func (w *world) check() {
	var sum [32]byte
	for svc := range w.s.ix.services {
		in := &w.s.ix.services[svc]
		for n := range in.Names {
			a := w.s.svcs[svc].answers[n]
			if w.s.rev.Answers[a.Name] != a {
				w.t.Fatalf("%s: the revision is not what was decided", a.Name)
			}
			sum = xor(sum, digestAnswer(a, w.s.svcs[svc].ttls[n]))
			w.checkAnswer(svc, n, a)
		}
		w.checkAlive(svc)
	}
	if sum != w.s.sum || w.s.rev.Digest != sha256.Sum256(digestBytes(sum, digestGroups(w.s.rev.Groups))) {
		w.t.Fatal("the digest is not that of the answers")
	}
	w.checkEntriesAlone()
}

// checkAnswer: never empty unless servfail, never a standby site without a person.
func (w *world) checkAnswer(svc, n int, a *Answer) {
	in := &w.s.ix.services[svc]
	b := w.s.mainBound(w.s.orders, svc)
	inside := slices.ContainsFunc(in.eps, func(ep endpointInfo) bool {
		return slices.ContainsFunc(ep.at, func(at atInfo) bool { return b.takes(w.s.ix, at.site) })
	})
	if a.Fail {
		if in.AllDown != AllDownServfail && inside {
			w.t.Fatalf("%s fails and all_down is %s", a.Name, in.AllDown)
		}
		return
	}
	if a.NegTTL > seconds(in.TTL) {
		w.t.Fatalf("%s: negative TTL %d", a.Name, a.NegTTL)
	}
	override := w.s.overrideFor(svc, n, nil)
	for i, c := range a.Choices {
		count := 0
		for _, m := range slices.Concat(c.A, c.AAAA) {
			for _, addr := range m.Addrs {
				count++
				e := in.endpointAt(addr)
				switch {
				case e < 0 && override != nil && override.site < 0: // it was one when it was pinned
				case e < 0:
					w.t.Fatalf("%s answers %v, which is no endpoint", a.Name, addr)
				case override != nil && override.site >= 0 && !in.eps[e].inSite(override.site):
					w.t.Fatalf("%s leaves the override's site with %v", a.Name, addr)
				case override == nil && !inside && slices.Contains(w.s.svcs[svc].main.move.Set, in.eps[e].ID): // it was answered before it moved
				case override == nil && !slices.ContainsFunc(in.eps[e].at, func(at atInfo) bool { return b.takes(w.s.ix, at.site) }):
					w.t.Fatalf("%s answers %v without a person's word", a.Name, addr)
				}
			}
		}
		if count == 0 {
			w.t.Fatalf("%s answers nothing to group %d: %+v", a.Name, i, a)
		}
	}
}

// checkAlive: while a candidate is up, no service is left with endpoints that are down only.
func (w *world) checkAlive(svc int) {
	in := &w.s.ix.services[svc]
	b, c := w.s.mainBound(w.s.orders, svc), w.s.svcs[svc].main
	views := w.s.look(svc, b, c)
	up := anyView(views, func(v *view) bool { return v.eligible && v.health == Up })
	answered := anyView(views, func(v *view) bool { return v.eligible && v.inSet && v.health != Down })
	if up && (!answered || c.move.NoneUp) {
		w.t.Fatalf("service %s stays down with a candidate up: %+v %+v", in.ID, c.move, views)
	}
}

// checkEntriesAlone: a node that holds the same entries and has seen nothing answers the same.
func (w *world) checkEntriesAlone() {
	other := &State{entries: w.s.entries, raised: map[string]raised{}, now: w.s.now}
	other.adopt(newIndex(w.cfg))
	other.startChains()
	other.orders = other.readOrders()
	for svc := range other.ix.services {
		for n, name := range other.ix.services[svc].Names {
			d := other.decisionFor(svc, n)
			b, c := other.mainBound(other.orders, svc), other.svcs[svc].main
			main := other.choices(&other.ix.services[svc], other.resolve(svc, b, c, other.look(svc, b, c)))
			a, full := other.answer(svc, n, d, main)
			if digestAnswer(a, full) != w.s.svcs[svc].digests[n] {
				w.t.Fatalf("%s rests on more than entries: %s by %+v, without what was seen %s by %+v", name,
					w.s.answerText(w.s.svcs[svc].answers[n]), w.s.decisionFor(svc, n).chain.move, other.answerText(a), d.chain.move)
			}
		}
	}
}

func TestProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &world{t: t, cfg: genConfig(t), now: epochStart, disk: map[EntryKey]Entry{}, health: map[TargetID]HealthEntry{}}
		s, fx := Start(w.cfg, Stored{}, w.now)
		w.s = s
		w.effects(fx)
		w.check()
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0, 1, 2, 3:
				w.observe()
			case 4, 5:
				w.order()
			case 6:
				w.now = w.now.Add(time.Duration(rapid.IntRange(0, 120).Draw(t, "wait")) * time.Second)
				w.tick()
			case 7:
				w.foreign()
			case 8:
				w.restart()
			case 9:
				if rapid.Bool().Draw(t, "other") {
					w.cfg = genConfig(t)
				}
				_ = w.s.Reconsider(w.cfg, w.now)
				_ = w.s.Unjudged(w.cfg)
				w.step(Reconfigured{w.cfg})
			}
			w.check()
			_ = w.s.Status(w.now)
			for _, name := range w.s.names() {
				if _, err := w.s.Explain(Query{Name: name, Client: netip.MustParseAddr("10.1.2.3")}, w.now); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}

func digestBytes(a, b [32]byte) []byte { return append(a[:], b[:]...) }

// An endpoint that flaps below min_healthy causes few moves, whatever stands beside it.
func TestFlappingBelowMinHealthy(t *testing.T) {
	for _, steer := range []Steering{Failover, ActiveActive} {
		for _, flapping := range [][]int{{2}, {6}, {2, 6}, {2, 4, 6}} {
			cfg := bigConfig(1)
			cfg.Services[0].Steer, cfg.Services[0].MinHealthy = steer, 2
			eps := cfg.Services[0].Endpoints[:8] // the even ones in city-a, the odd ones in city-b
			cfg.Services[0].Endpoints = eps
			s, now := upState(cfg)
			moves := 0
			for i := range 3600 {
				now = now.Add(time.Second)
				var obs Observed
				for e := range eps {
					o := Observation{Target: eps[e].At[0].Targets[0], At: now}
					switch {
					case slices.Contains(flapping, e):
						if (i/(20+e))%2 == 1 {
							o.Outcome = Refused
						}
					case e != 0 && e != 1: // one stays in each city
						o.Outcome = Refused
					}
					obs = append(obs, o)
				}
				for _, e := range Step(s, obs, now).Store {
					if e.Kind == KindMove {
						moves++
					}
				}
			}
			if moves > 30 {
				t.Errorf("%s, %v flapping: %d moves in an hour", steer, flapping, moves)
			}
		}
	}
}

// Endpoints that are as good as dead and answer now and then are not passed to and fro, nor
// does their alarm come and go.
func TestFlappingNearDeath(t *testing.T) {
	for _, alive := range []int{20, 50} { // per cent
		for _, steer := range []Steering{Failover, ActiveActive} {
			cfg := bigConfig(2)
			cfg.Services[0].Steer = steer
			cfg.Services[0].Endpoints = cfg.Services[0].Endpoints[:2]
			s, now := upState(cfg)
			r := rand.New(rand.NewPCG(1, 2))
			writes := map[Kind]int{}
			for range 3600 {
				now = now.Add(time.Second)
				var obs Observed
				for _, ep := range cfg.Services[0].Endpoints {
					o := Observation{Target: ep.At[0].Targets[0], At: now}
					if r.IntN(100) >= alive {
						o.Outcome = Refused
					}
					obs = append(obs, o)
				}
				for _, e := range Step(s, obs, now).Store {
					writes[e.Kind]++
				}
			}
			if writes[KindMove] > 20 || writes[KindAlarm] > 20 {
				t.Errorf("%s, %d %% alive: %v in an hour", steer, alive, writes)
			}
		}
	}
}
