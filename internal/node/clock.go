package node

import "time"

// clock is what this node's clock shows. All times that are decided with, kept, sent or
// shown are of it; until and since measure by it.
func clock() time.Time { return shown(time.Now()) }

func until(t time.Time) time.Duration { return t.Sub(clock()) }

func since(t time.Time) time.Duration { return clock().Sub(t) }
