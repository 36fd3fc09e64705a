package zones

// LoadOne reads the file of one zone again, as Load does; the others stay as
// they are.
func (k *Keeper) LoadOne(spec Spec, accept bool) Loaded {
	k.mu.Lock()
	defer k.mu.Unlock()
	opt := Options{Yield: Pause}
	found, listErr := k.store.list()
	l, takes := k.load(spec, found[fileName(spec.Name)], accept, opt)
	if l.Source == File && listErr != nil {
		l.warn("", listErr)
	}
	if l.Zone != nil {
		k.running[spec.Name] = l.Zone
	}
	if takes != nil {
		takes.loaded = &l
		k.store.save([]*saving{takes}, opt)
	}
	return l
}

// Judge says why Load would not take the zone in the place of what is served
// unless it is accepted; nil: it would.
func (k *Keeper) Judge(z *Zone) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	found, err := k.store.list()
	if err != nil {
		return err
	}
	return judge(z, k.before(Spec{Name: z.name}, found[fileName(z.name)]), false)
}
