package policy

import (
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
