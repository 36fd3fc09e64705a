package node

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/scloudstack/pharos/policy"
	"github.com/scloudstack/pharos/probe"
)

// The alarm names what can't be checked, and each remedy once.
func TestBlindAlarms(t *testing.T) {
	at := time.Unix(1700000000, 0)
	icmp := func(address string, since time.Time) probe.Blindness {
		return probe.Blindness{Target: "icmp " + address, Since: since, Reason: "socket: permission denied", Remedy: "give the service CAP_NET_RAW"}
	}
	tcp := probe.Blindness{Target: "tcp 192.0.2.9", Since: at, Reason: "socket: too many open files", Remedy: "raise the limit"}
	for _, tc := range []struct {
		name   string
		list   []probe.Blindness
		all    bool
		expect []policy.AlarmStatus
	}{
		{"none", nil, false, nil},
		{"one", []probe.Blindness{icmp("192.0.2.1", at)}, false, []policy.AlarmStatus{{
			Cause: "probes", Since: at, Way: "give the service CAP_NET_RAW",
			Text: "this host can't make some of its checks, so what is held of their targets stays as it was: icmp 192.0.2.1: socket: permission denied",
		}}},
		{"all", []probe.Blindness{icmp("192.0.2.1", at), icmp("192.0.2.2", at.Add(time.Second)), icmp("192.0.2.3", at), tcp}, true, []policy.AlarmStatus{{
			Cause: "probes", Since: at.Add(time.Second), Way: "give the service CAP_NET_RAW; raise the limit",
			Text: "this host can make none of its checks, so what is held of their targets stays as it was: icmp 192.0.2.1: socket: permission denied; " +
				"icmp 192.0.2.2: socket: permission denied; icmp 192.0.2.3: socket: permission denied; and 1 more",
		}}},
	} {
		if diff := cmp.Diff(tc.expect, blindAlarms(tc.list, tc.all)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, diff)
		}
	}
}
