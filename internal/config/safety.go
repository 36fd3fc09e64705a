package config

import (
	"slices"

	"github.com/scloudstack/pharos/policy"
)

// safety reads the rules that orders are judged by.
func (r *reading) safety(n *node) {
	r.named(n, "rule", func(name string, v *node) {
		rule := policy.Rule{Name: name}
		if slices.Contains(policy.BuiltinRules(), name) {
			r.errorf(v, "is the name of a rule that is built in: choose another")
		}
		r.object(v, "safety.NAME",
			optional("assert", func(v *node) { r.assertion(&rule, v) }),
			optional("gate", oneOf(r.decoder, &rule.GateOpen, word[bool]{"open", true}, word[bool]{"closed", false})),
		)
		if v.kind == mapping && v.has("assert") == v.has("gate") {
			r.errorf(v, "expected exactly one of assert and gate")
		}
		r.s.Policy.Rules = append(r.s.Policy.Rules, rule)
	})
}

func (r *reading) assertion(rule *policy.Rule, n *node) {
	var service string
	r.object(n, "safety.NAME.assert",
		required("service", r.text(&service)),
		required("at_least", integer(r.decoder, &rule.AtLeast, 1, 1000)),
	)
	if service == "" {
		return
	}
	if r.services[service] == nil {
		names := make([]string, 0, len(r.services))
		for s := range r.services {
			names = append(names, s)
		}
		slices.Sort(names)
		r.unknown(n.get("service"), "service", service, names)
		return
	}
	rule.Service = policy.ServiceID(service)
	if most := r.mostInService(rule.Service); most > 0 && rule.AtLeast > most {
		r.errorf(n.get("at_least"), "found %d, but %s never has more than %d %s in service", rule.AtLeast, service, most, plural(most, "endpoint", "endpoints"))
	}
}

// mostInService counts the endpoints of the metro that has most; 0: unknown.
func (r *reading) mostInService(id policy.ServiceID) int {
	count := make(map[policy.MetroID]int)
	most := 0
	for _, s := range r.s.Policy.Services {
		if s.ID != id || len(s.Endpoints) != len(r.services[string(id)].get("endpoints").itemsOf()) {
			continue
		}
		for _, e := range s.Endpoints {
			m := r.siteOf(e.At[0].Site).Metro
			count[m]++
			most = max(most, count[m])
		}
	}
	return most
}
