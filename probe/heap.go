package probe

// dueHeap is a binary heap of targets, the one that is due first on top. It
// keeps target.index.
type dueHeap []*target

func (h dueHeap) first() *target {
	if len(h) == 0 {
		return nil
	}
	return h[0]
}

func (h *dueHeap) push(t *target) {
	t.index = len(*h)
	*h = append(*h, t)
	h.up(t.index)
}

func (h *dueHeap) remove(t *target) {
	i, last := t.index, len(*h)-1
	h.swap(i, last)
	(*h)[last] = nil
	*h = (*h)[:last]
	t.index = -1
	if i < last {
		h.fix((*h)[i])
	}
}

// fix restores the order after t.next changed.
func (h dueHeap) fix(t *target) {
	h.down(t.index)
	h.up(t.index)
}

func (h dueHeap) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if h[parent].next <= h[i].next {
			return
		}
		h.swap(i, parent)
		i = parent
	}
}

func (h dueHeap) down(i int) {
	for {
		least := 2*i + 1
		if least >= len(h) {
			return
		}
		if right := least + 1; right < len(h) && h[right].next < h[least].next {
			least = right
		}
		if h[i].next <= h[least].next {
			return
		}
		h.swap(i, least)
		i = least
	}
}

func (h dueHeap) swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}
