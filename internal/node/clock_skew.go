//go:build skew

package node

import (
	"os"
	"time"
)

// shown is what this node's clock shows at a time: it is off by $PHAROS_SKEW. For tests
// alone: a network namespace has no clock of its own.
func shown(t time.Time) time.Time {
	off, err := time.ParseDuration(os.Getenv("PHAROS_SKEW"))
	if err != nil {
		panic("PHAROS_SKEW: " + err.Error())
	}
	return t.Add(off)
}
