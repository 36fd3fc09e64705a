package cluster

// window tells packets that were not seen before from replayed ones, although the network reorders: the last counters below
// the highest are remembered one by one (RFC 6479 does the same).
type window struct {
	incarnation uint64
	top         uint64
	seen        [windowSize / 64]uint64 // a bit for each counter, at counter % windowSize
}

const windowSize = 1024

// verdict of a window on a packet.
type verdict uint8

const (
	fresh verdict = iota
	replayed
	stale // of an earlier incarnation, or too far behind to be remembered
)

func (w *window) judge(incarnation, counter uint64) verdict {
	switch {
	case incarnation < w.incarnation:
		return stale
	case incarnation > w.incarnation:
		*w = window{incarnation: incarnation}
	case w.top >= windowSize && counter <= w.top-windowSize: // sent again, or the node was started again by the same number
		return stale
	}
	if counter > w.top {
		w.advance(counter)
	}
	word, bit := &w.seen[counter%windowSize/64], uint64(1)<<(counter%64)
	if *word&bit != 0 {
		return replayed
	}
	*word |= bit
	return fresh
}

func (w *window) advance(counter uint64) {
	if counter-w.top >= windowSize {
		w.seen = [windowSize / 64]uint64{}
	} else {
		for i := range counter - w.top {
			c := w.top + 1 + i
			w.seen[c%windowSize/64] &^= 1 << (c % 64)
		}
	}
	w.top = counter
}
