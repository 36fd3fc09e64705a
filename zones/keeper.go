package zones

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
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
	Warnings []Problem // about the file, and about keeping copies
}

// Reasons why a file that is good in itself is not taken. Load and Rollback
// wrap them; each is passed by accepting the zone.
var (
	ErrShrunk     = errors.New("the zone lost more than 20 % of its records")
	ErrSerialBack = errors.New("the serial went back")
	ErrRolledBack = errors.New("the file is what was rolled back from")
)

// Keeper loads the configured zones, decides which file may take the place of
// what runs, and keeps the last good versions of each zone on disk. Its methods
// may be called from any goroutine, one call runs at a time.
type Keeper struct {
	mu      sync.Mutex
	store   store
	running map[string]*Zone // by name
	read    map[string]reading
	started bool
	now     func() time.Time
}

// reading is what the file that was taken last was read from, so that it need
// not be parsed again as long as it says the same.
type reading struct {
	inputs   inputs
	digest   [32]byte // of the zone that came of it
	warnings []Problem
}

// OpenKeeper makes a keeper whose versions are under dir. A folder that can't
// be made or written is no error here, but a warning with each zone: the zones
// can be served all the same.
func OpenKeeper(dir string) (*Keeper, error) {
	if dir == "" {
		return nil, errors.New("open zone keeper: no folder given")
	}
	return &Keeper{store: store{dir: dir}, running: map[string]*Zone{}, read: map[string]reading{}, now: time.Now}, nil
}

// Load reads the files of all configured zones and says for each what to serve.
// The names in accept are taken even if they shrank, went back or were rolled
// back. The first Load runs at full speed, as nothing is answered yet; later
// ones pause every 200 µs (see Pause).
//
// At a reload old and new zone exist together, one zone after the other: the
// most that is needed besides is about twice the largest zone.
func (k *Keeper) Load(specs []Spec, accept map[string]bool) []Loaded {
	k.mu.Lock()
	defer k.mu.Unlock()
	var opt Options
	if k.started {
		opt.Yield = Pause
	}
	k.started = true
	found, listErr := k.store.list()
	running := make(map[string]*Zone, len(specs))
	results := make([]Loaded, len(specs))
	var save []*saving
	for i, spec := range specs {
		l, takes := k.load(spec, found[fileName(spec.Name)], accept[spec.Name], opt)
		if l.Source == File && listErr != nil {
			l.warn("", listErr)
		}
		if takes != nil {
			takes.loaded = &results[i]
			save = append(save, takes)
		}
		if l.Zone != nil {
			running[spec.Name] = l.Zone
		}
		results[i] = l
	}
	k.running = running
	maps.DeleteFunc(k.read, func(name string, _ reading) bool { return running[name] == nil })
	k.store.save(save, opt)
	return results
}

// Serve tells the keeper what is served where that is not what the last Load
// gave, since its caller did not take it: what comes is judged beside these,
// and these run on if it is refused.
func (k *Keeper) Serve(served []*Zone) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.running = make(map[string]*Zone, len(served))
	for _, z := range served {
		k.running[z.name] = z
	}
}

// parse reads the zone's files, unless they say what they said when that which
// runs was read from them. Then it gives that.
func (k *Keeper) parse(spec Spec, opt Options) (*Zone, reading, error) {
	last, running := k.read[spec.Name], k.running[spec.Name]
	if running != nil && last.digest == running.digest && last.inputs.unchanged(spec.File, opt) {
		return running, last, nil
	}
	now := reading{inputs: inputs{file: spec.File}}
	z, warnings, err := parseFile(spec.Name, spec.File, &now.inputs, opt)
	now.warnings = slices.Clip(warnings)
	if z != nil {
		now.digest = z.digest
	}
	return z, now, err
}

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
	found, _ := k.store.list() // what can't be listed is not compared with
	return judge(z, k.before(Spec{Name: z.name}, found[fileName(z.name)]), false)
}

func (l *Loaded) warn(what string, err error) {
	l.Warnings = append(l.Warnings, Problem{Text: what + err.Error()})
}

// load decides about one zone. It gives what to save, where that is needed.
func (k *Keeper) load(spec Spec, kept []Version, accept bool, opt Options) (Loaded, *saving) {
	l := Loaded{Spec: spec}
	z, now, err := k.parse(spec, opt)
	l.Warnings = now.warnings
	before := k.before(spec, kept)
	if err == nil {
		err = judge(z, before, accept)
	}
	if err != nil {
		l.Err = err
		k.fallBack(&l, kept, opt)
		return l, nil
	}
	k.read[spec.Name] = now
	l.Source = File
	l.Zone = z
	if before.zone != nil && before.zone.digest == z.digest {
		l.Zone = before.zone // the same content: nothing has to be compiled again
	}
	if before.known && before.digest != z.digest && before.serial == z.serial {
		l.Warnings = append(l.Warnings, Problem{
			File: spec.File,
			Text: fmt.Sprintf("the zone changed, but its serial is still %d", z.serial),
		})
	}
	if len(kept) > 0 && kept[0].Digest == z.digest && !kept[0].damaged { // before has read it
		return l, nil
	}
	return l, &saving{zone: z, kept: kept, header: header{Taken: k.now(), File: spec.File}}
}

// previous is what a new file is compared with.
type previous struct {
	known   bool
	zone    *Zone
	serial  uint32
	records int
	digest  [32]byte
	refused [][32]byte // contents that were rolled back from
}

// before finds what ran, else what was served last before the start.
func (k *Keeper) before(spec Spec, kept []Version) previous {
	var p previous
	if len(kept) > 0 {
		v := kept[0].head()
		p = previous{known: true, serial: v.Serial, records: v.Records, digest: v.Digest, refused: v.refuses}
	}
	if z := k.running[spec.Name]; z != nil {
		p.known, p.zone, p.serial, p.records, p.digest = true, z, z.serial, z.records, z.digest
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
func (k *Keeper) fallBack(l *Loaded, kept []Version, opt Options) {
	if z := k.running[l.Spec.Name]; z != nil {
		l.Zone, l.Source = z, Running
		return
	}
	for i := range kept {
		z, err := k.store.open(l.Spec.Name, &kept[i], opt)
		if err != nil {
			l.warn("", err)
			continue
		}
		l.Zone, l.Source = z, LastGood
		return
	}
}

// Versions lists what is kept of a zone, the newest first.
func (k *Keeper) Versions(name string) []Version { return k.Kept()(name) }

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

// Open reads one kept version, for a comparison.
func (k *Keeper) Open(name string, number uint64) (*Zone, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	found, err := k.store.list()
	for _, v := range found[fileName(name)] {
		if v.Number == number {
			return k.store.open(name, &v, Options{Yield: Pause})
		}
	}
	if err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("no version %d of the zone %s is kept", number, name)
}

// Rollback goes back to the kept version before the one that is served. It
// becomes the newest version itself, and the content that was left is not
// taken from the file again until the file changes or is accepted.
func (k *Keeper) Rollback(name string) (Loaded, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	found, err := k.store.list()
	if err != nil {
		return Loaded{}, err
	}
	kept := found[fileName(name)]
	left := k.before(Spec{Name: name}, kept)
	if !left.known {
		return Loaded{}, fmt.Errorf("no version of the zone %s is kept", name)
	}
	var errs []error
	older := olderThan(kept, left.digest)
	for i := range older {
		v := &older[i]
		z, err := k.store.open(name, v, Options{Yield: Pause})
		if err != nil {
			errs = append(errs, err)
			continue
		}
		l := Loaded{
			Spec: Spec{Name: name, File: v.File}, Zone: z, Source: LastGood,
			Err: fmt.Errorf("%w (serial %d)", ErrRolledBack, left.serial),
		}
		s := &saving{zone: z, kept: kept, loaded: &l, header: header{Taken: k.now(), File: v.File, Refuses: append(slices.Clone(left.refused), left.digest)}}
		k.store.save([]*saving{s}, Options{Yield: Pause})
		k.running[name] = z
		return l, nil
	}
	return Loaded{}, errors.Join(append(errs, fmt.Errorf("no earlier version of the zone %s is kept", name))...)
}

// olderThan gives the versions before the first of a content. A rollback writes
// an old content as a new version, so it may stand there twice.
func olderThan(kept []Version, digest [32]byte) []Version {
	for i := len(kept) - 1; i >= 0; i-- {
		if kept[i].head().Digest == digest {
			return kept[i+1:]
		}
	}
	return kept
}
