package zones

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"
	"time"
)

// Source says where the zone that is served comes from.
type Source uint8

const (
	None     Source = iota // nowhere: the zone answers SERVFAIL
	File                   // its file
	Running                // what ran before: the file was refused
	LastGood               // the last good copy on disk: the file was refused
)

// String gives "none", "file", "running" or "last-good".
func (s Source) String() string {
	return [...]string{"none", "file", "running", "last-good"}[s]
}

// MarshalText is for JSON.
func (s Source) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Loaded is what became of one configured zone.
type Loaded struct {
	Spec     Spec
	Zone     *Zone // nil: SERVFAIL. The same pointer as before where nothing changed
	Source   Source
	Err      error     // why the file is not what is served: Problems, or an error that says how to accept it
	Warnings []Problem // about the file, and about copies that can't be read

	reading    *reading   // what Zone was read from; nil: a copy
	refuses    [][32]byte // contents that were rolled back from
	rolledBack            // zero: it is no rollback
}

// Reasons why a file that is good in itself is not taken. Load and Rollback
// wrap them; each is passed by accepting the zone.
var (
	ErrShrunk     = errors.New("the zone lost more than 20 % of its records")
	ErrSerialBack = errors.New("the serial went back")
	ErrRolledBack = errors.New("the file is what was rolled back from")
)

// Keeper decides which file of each configured zone may take the place of what
// is served, and keeps the last good versions on disk, in three steps: Load,
// LoadOne and Rollback decide and change nothing; Take is told what is served of
// it; Save writes that. Its methods may be called from any goroutine.
type Keeper struct {
	store store
	now   func() time.Time

	mu     sync.Mutex
	served map[string]Loaded // by name, those that have a zone; never changed, only replaced. nil before the first Take
	unkept map[string]error  // by name; never changed, only replaced

	saving sync.Mutex
	saved  map[string]*Zone // by name, the newest version on the disk as far as it is known; guarded by saving
}

// reading is what a zone was read from, so that it need not be parsed again as
// long as its files say the same.
type reading struct {
	inputs   inputs
	warnings []Problem
}

// OpenKeeper makes a keeper whose versions are under dir. A folder that can't
// be made or written is no error here, but one that Unkept has for each zone:
// the zones can be served all the same.
func OpenKeeper(dir string) (*Keeper, error) {
	if dir == "" {
		return nil, errors.New("open zone keeper: no folder given")
	}
	return &Keeper{store: store{dir: dir}, now: time.Now}, nil
}

// Load reads the files of all configured zones and says for each what to serve.
// The names in accept are taken even if they shrank, went back or were rolled
// back. Before the first Take it runs at full speed, as nothing is answered yet;
// later it pauses every 200 µs (see Pause).
//
// At a reload old and new zone exist together, one zone after the other: the
// most that is needed besides is about twice the largest zone.
func (k *Keeper) Load(specs []Spec, accept map[string]bool) []Loaded {
	served := k.current()
	var opt Options
	if served != nil {
		opt.Yield = Pause
	}
	found, _ := k.store.list() // what can't be listed is not compared with; Save tells
	results := make([]Loaded, len(specs))
	for i, spec := range specs {
		results[i] = k.load(spec, served[spec.Name], found[fileName(spec.Name)], accept[spec.Name], opt)
	}
	return results
}

// LoadOne reads the file of one zone again, as Load does.
func (k *Keeper) LoadOne(spec Spec, accept bool) Loaded {
	found, _ := k.store.list()
	return k.load(spec, k.current()[spec.Name], found[fileName(spec.Name)], accept, Options{Yield: Pause})
}

// current is what is served, by name.
func (k *Keeper) current() map[string]Loaded {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.served
}

// Take says that all of this is served, and nothing else: what comes is judged
// beside it, and it runs on if that is refused.
func (k *Keeper) Take(all []Loaded) {
	served := make(map[string]Loaded, len(all))
	for _, l := range all {
		if l.Zone != nil {
			served[l.Spec.Name] = l
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.served = served
}

// Save writes a version of each zone that was taken and whose newest version
// says something else. When ctx ends it leaves out the rest. What could not be
// kept is told by Unkept, and tried again by the next Save.
func (k *Keeper) Save(ctx context.Context) {
	k.saving.Lock()
	defer k.saving.Unlock()
	served := k.current()
	found, listErr := k.store.list()
	saved := make(map[string]*Zone, len(served))
	var save []*saving
	for name, l := range served {
		kept := found[fileName(name)]
		switch {
		case l.Source == LastGood && l.refuses == nil: // it is one of the versions
		case len(kept) > 0 && (k.saved[name] == l.Zone || kept[0].holds(&l)):
			saved[name] = l.Zone
		default:
			h := header{Taken: k.now(), File: l.Spec.File, Refuses: l.refuses, rolledBack: l.rolledBack}
			if h.copyOf == 0 {
				h.before = newest(kept)
			}
			save = append(save, &saving{zone: l.Zone, kept: kept, header: h})
		}
	}
	k.store.save(ctx, save, listErr)
	unkept := map[string]error{}
	for _, s := range save {
		if s.err != nil {
			unkept[s.zone.name] = s.err
		} else {
			saved[s.zone.name] = s.zone
		}
	}
	k.saved = saved
	k.mu.Lock()
	defer k.mu.Unlock()
	k.unkept = unkept
}

// Unkept says why the last Save could not keep a zone's version, by name. It is
// not to be changed.
func (k *Keeper) Unkept() map[string]error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.unkept
}

// Judge says why Load would not take the zone in the place of what is served
// unless it is accepted; nil: it would.
func (k *Keeper) Judge(z *Zone) error {
	found, _ := k.store.list() // what can't be listed is not compared with
	return judge(z, before(k.current()[z.name], found[fileName(z.name)]), false)
}

// readAgain reads the zone's files, unless they say what they said when that which
// is served was read from them. Then it gives that.
func readAgain(spec Spec, served *Loaded, opt Options) (*Zone, *reading, error) {
	if served.reading != nil && served.reading.inputs.unchanged(spec.File, opt) {
		return served.Zone, served.reading, nil
	}
	now := &reading{inputs: inputs{file: spec.File}}
	z, warnings, err := parseFile(spec.Name, spec.File, &now.inputs, opt)
	now.warnings = slices.Clip(warnings)
	return z, now, err
}

// load decides about one zone.
func (k *Keeper) load(spec Spec, served Loaded, kept []Version, accept bool, opt Options) Loaded {
	l := Loaded{Spec: spec}
	z, now, err := readAgain(spec, &served, opt)
	l.Warnings = now.warnings
	before := before(served, kept)
	if err == nil {
		err = judge(z, before, accept)
	}
	if err != nil {
		l.Err = err
		k.fallBack(&l, &served, kept, opt)
		return l
	}
	l.Source, l.Zone, l.reading = File, z, now
	if served.Zone != nil && served.Zone.digest == z.digest {
		l.Zone, l.refuses, l.rolledBack = served.Zone, served.refuses, served.rolledBack // the same content: nothing has to be compiled again
	}
	if before.known && before.digest != z.digest && before.serial == z.serial {
		l.Warnings = append(l.Warnings, Problem{
			File: spec.File,
			Text: fmt.Sprintf("the zone changed, but its serial is still %d", z.serial),
		})
	}
	return l
}

// previous is what a new file is compared with.
type previous struct {
	known   bool
	serial  uint32
	records int
	digest  [32]byte
	refused [][32]byte // contents that were rolled back from
}

// before finds what is served, else what was served last before the start.
func before(served Loaded, kept []Version) previous {
	var p previous
	if len(kept) > 0 {
		v := kept[0].head()
		p = previous{known: true, serial: v.Serial, records: v.Records, digest: v.Digest, refused: v.refuses}
	}
	if z := served.Zone; z != nil {
		p.known, p.serial, p.records, p.digest = true, z.serial, z.records, z.digest
		if served.refuses != nil { // its version may not be written yet
			p.refused = served.refuses
		}
	}
	return p
}

// judge says whether a good file may take the place of what was served.
func judge(z *Zone, before previous, accept bool) error {
	const how = "; `pharos zone reload --accept %s` takes it"
	switch {
	case accept || !before.known || z.digest == before.digest:
		return nil
	case slices.Contains(before.refused, z.digest):
		return fmt.Errorf("%w (serial %d): change it"+how, ErrRolledBack, z.serial, z.name)
	case serialBack(before.serial, z.serial):
		return fmt.Errorf("%w from %d to %d"+how, ErrSerialBack, before.serial, z.serial, z.name)
	case z.records*5 < before.records*4:
		return fmt.Errorf("%w: %d are left of %d"+how, ErrShrunk, z.records, before.records, z.name)
	}
	return nil
}

// serialBack says whether new is before old, or neither before nor after it
// (RFC 1982 §3.2).
func serialBack(old, new uint32) bool { return old != new && new-old >= 1<<31 }

// fallBack finds what to serve in place of a file that was refused.
func (k *Keeper) fallBack(l, served *Loaded, kept []Version, opt Options) {
	if served.Zone != nil {
		l.Zone, l.Source, l.reading = served.Zone, Running, served.reading
		l.refuses, l.rolledBack = served.refuses, served.rolledBack
		return
	}
	for i := range kept {
		z, err := k.store.open(l.Spec.Name, &kept[i], opt)
		if err != nil {
			l.Warnings = append(l.Warnings, Problem{Text: err.Error()})
			continue
		}
		l.Zone, l.Source = z, LastGood
		return
	}
}

// Kept looks once at what is kept of all zones, of which there may be
// thousands, and returns what gives the versions of one, the newest first. It
// does not wait for a load: a version is whole or not there.
func (k *Keeper) Kept() func(name string) []Version {
	found, _ := k.store.list()
	return func(name string) []Version {
		var kept []Version
		for _, v := range found[fileName(name)] {
			if v.head().damaged {
				if _, err := os.Stat(v.path); errors.Is(err, fs.ErrNotExist) {
					continue // a load has removed it meanwhile
				}
			}
			kept = append(kept, v)
		}
		return kept
	}
}

// Rollback says which kept version to go back to: the one that was served before
// what is served, and so further back each time. Once it is taken and saved, a copy
// of it is the newest version, in the place of the copy of an earlier rollback. The
// content that was left is not taken from the file again until the file changes or
// is accepted.
func (k *Keeper) Rollback(name string) (Loaded, error) {
	found, err := k.store.list()
	if err != nil {
		return Loaded{}, err
	}
	kept := found[fileName(name)]
	served := k.current()[name]
	left := before(served, kept)
	if !left.known {
		return Loaded{}, fmt.Errorf("no version of the zone %s is kept", name)
	}
	var errs []error
	limit := served.before
	if served.copyOf == 0 {
		limit = servedBefore(kept, left.digest)
	}
	for i := range kept {
		v := &kept[i]
		if v.Number > limit || v.head().copyOf != 0 || v.Digest == left.digest {
			continue
		}
		limit = v.before
		z, err := k.store.open(name, v, Options{Yield: Pause})
		if err != nil {
			errs = append(errs, err)
			continue
		}
		return Loaded{
			Spec: Spec{Name: name, File: v.File}, Zone: z, Source: LastGood,
			Err:        fmt.Errorf("%w (serial %d)", ErrRolledBack, left.serial),
			refuses:    append(slices.Clone(left.refused), left.digest),
			rolledBack: rolledBack{copyOf: v.Number, before: v.before},
		}, nil
	}
	return Loaded{}, errors.Join(append(errs, fmt.Errorf("no earlier version of the zone %s is kept", name))...)
}

// servedBefore is the highest number that a version served before a content can have.
func servedBefore(kept []Version, digest [32]byte) uint64 {
	for i := range kept {
		if kept[i].head().Digest == digest {
			return kept[i].before
		}
	}
	return newest(kept) // the content is not kept
}

// newest is the number of the version that is served by the newest one: its own,
// or of a rollback that of the original.
func newest(kept []Version) uint64 {
	if len(kept) == 0 {
		return 0
	}
	if v := kept[0].head(); v.copyOf != 0 {
		return v.copyOf
	}
	return kept[0].Number
}
