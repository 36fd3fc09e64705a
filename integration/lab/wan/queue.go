package wan

// frame is one Ethernet frame on its way.
type frame struct {
	data   [frameSize]byte
	octets int
	stamp  int64 // when the kernel received it
	leaves int64 // when it is to leave
	number uint64
	from   *port
}

// queue is a heap of frames, the one that leaves first at 0; equal times in the
// order of arrival.
type queue []*frame

func (q queue) before(i, j int) bool {
	if q[i].leaves != q[j].leaves {
		return q[i].leaves < q[j].leaves
	}
	return q[i].number < q[j].number
}

func (q *queue) push(f *frame) {
	*q = append(*q, f)
	for i := len(*q) - 1; i > 0; {
		up := (i - 1) / 2
		if !q.before(i, up) {
			return
		}
		(*q)[i], (*q)[up] = (*q)[up], (*q)[i]
		i = up
	}
}

func (q *queue) pop() *frame {
	h := *q
	first, n := h[0], len(h)-1
	h[0], h[n] = h[n], nil
	*q = h[:n]
	for i := 0; ; {
		least := i
		for _, down := range [2]int{2*i + 1, 2*i + 2} {
			if down < n && q.before(down, least) {
				least = down
			}
		}
		if least == i {
			return first
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
}
