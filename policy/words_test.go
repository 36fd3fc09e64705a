package policy

import (
	"slices"
	"testing"
	"time"
)

func TestLength(t *testing.T) {
	for d, want := range map[time.Duration]string{
		3 * time.Second: "3s", 10 * time.Minute: "10m", 90 * time.Second: "1m30s", time.Hour: "1h", 10*time.Hour + 10*time.Minute: "10h10m", 0: "0s",
	} {
		if got := length(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}

func TestUrgentCommandsComeFirst(t *testing.T) {
	got := nextCommands(Status{Alarms: []AlarmStatus{
		{Cause: "conflict/override/all", Way: "pharos alarm ack conflict/override/all"},
		{Cause: "held/edge-a", Way: "pharos site lost remote"},
		{Cause: "held/edge-b", Way: "pharos site lost remote"},
		{Cause: "margin", Way: "pharos status", Acknowledged: true},
	}})
	if want := []string{"pharos site lost remote", "pharos alarm ack conflict/override/all"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got := nextCommands(Status{}); got == nil || len(got) > 0 {
		t.Errorf("nothing wrong: %#v, want an empty list", got)
	}
}
