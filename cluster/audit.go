package cluster

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/scloudstack/pharos/policy"
)

// Record is one thing that happened, in the audit chain of the node where it did.
type Record struct {
	Time    time.Time `json:"time"`
	Who     string    `json:"who"`     // the person, or "machine"
	What    string    `json:"what"`    // "order", "configuration", "target", "service"
	Subject string    `json:"subject"` // what it was done to
	Before  string    `json:"before,omitempty"`
	After   string    `json:"after,omitempty"`
	Why     string    `json:"why,omitempty"`
	// Count is how many changes of one subject were folded into the record; Before is from before the first, at Since, and
	// After from after the last. 0: it is one change.
	Count int       `json:"count,omitempty"`
	Since time.Time `json:"since,omitzero"`
	Cut   *Cut      `json:"cut,omitempty"`  // what retention took away
	Prev  string    `json:"prev,omitempty"` // hash of the record before, hexadecimal; "" for the first of a chain
}

// Cut sums up the records of a chain that retention took away: First to Through, and all before.
type Cut struct {
	First   uint64    `json:"first"`
	Through uint64    `json:"through"`
	Hash    string    `json:"hash"`    // of record Through, which the next one names
	Records int       `json:"records"` // taken away since the chain began
	From    time.Time `json:"from"`    // time of the first record of all that were
	To      time.Time `json:"to"`
}

// AuditConfig is what an Audit is told.
type AuditConfig struct {
	Chain   string        // see NewChain; kept in the data folder
	Clock   *Clock        // stamps the records
	Records int           // so many are kept, in the memory of every node, at 1 to 2 KB each; 0: 5,000
	Age     time.Duration // for so long; 0: 400 days
	Fold    time.Duration // changes of one subject by the machine within it become one record after the first few; 0: 1 min
}

// Audit writes the chain of one node: each record names the hash of the one before, so that none can be taken out or altered
// unseen. It makes entries; the caller seals them.
type Audit struct {
	cfg    AuditConfig
	number uint64 // of the newest record
	head   string // its hash
	kept   []kept // oldest first
	cut    Cut
	folds  map[string]*fold
}

type kept struct {
	number uint64
	time   time.Time
	hash   string
}

// fold collects changes of one subject after the first few.
type fold struct {
	until time.Time
	alone int    // changes that have a record of their own
	rec   Record // Count 0: none yet
}

const (
	maxText   = 2000
	maxFolds  = 10000
	foldAfter = 4
)

// NewChain draws the name of a chain. A data folder has one from its first start on, and gets another when it was set back.
func NewChain(node policy.NodeID) string {
	var b [8]byte
	rand.Read(b[:])
	return string(node) + "/" + hex.EncodeToString(b[:])
}

// NewAudit goes on with the chain as far as it is among the entries that are held.
func NewAudit(cfg AuditConfig, held []policy.Entry) (*Audit, error) {
	if cfg.Records == 0 {
		cfg.Records = 5_000
	}
	if cfg.Age == 0 {
		cfg.Age = 400 * 24 * time.Hour
	}
	if cfg.Fold == 0 {
		cfg.Fold = time.Minute
	}
	if !strings.HasPrefix(cfg.Chain, string(cfg.Clock.Node)+"/") {
		return nil, fmt.Errorf("audit chain %q: a name of node %s expected", cfg.Chain, cfg.Clock.Node)
	}
	a := &Audit{cfg: cfg, folds: map[string]*fold{}}
	for _, e := range chainOf(cfg.Chain, held) {
		a.extend(e)
	}
	return a, nil
}

// extend takes over a record that stands in the chain.
func (a *Audit) extend(e policy.Entry) {
	_, number, _ := parseRecordKey(e.Key)
	rec, _ := decodeRecord(e)
	a.number, a.head = number, recordHash(e)
	a.kept = append(a.kept, kept{number, rec.Time, a.head})
	if rec.Cut != nil {
		a.cut = *rec.Cut
	}
}

// Add makes the record of something that happened. What the machine does again and again to one subject is folded: the
// first few changes are recorded at once, as there and back again is no flapping and somebody wants to see it now; later
// ones within the window by Tick, in one record.
func (a *Audit) Add(rec Record, now time.Time) []policy.Entry {
	rec.Time = now.UTC()
	if rec.Who == machine {
		subject := rec.What + "\x00" + rec.Subject
		f := a.folds[subject]
		switch {
		case f != nil && f.alone == foldAfter:
			f.add(rec)
			return nil
		case f != nil:
			f.alone++
		case len(a.folds) < maxFolds:
			a.folds[subject] = &fold{until: now.Add(a.cfg.Fold), alone: 1}
		}
	}
	return append([]policy.Entry{a.append(rec, now)}, a.retain(now)...)
}

func (f *fold) add(rec Record) {
	if f.rec.Count == 0 {
		f.rec = rec
		f.rec.Since = rec.Time
	}
	f.rec.Count++
	f.rec.Time, f.rec.After, f.rec.Why = rec.Time, rec.After, rec.Why
}

// Tick makes the records of what was folded and is due, and cuts what retention does not keep. Once a second is enough.
func (a *Audit) Tick(now time.Time) []policy.Entry {
	var due []*fold
	for subject, f := range a.folds {
		if now.Before(f.until) {
			continue
		}
		if f.rec.Count == 0 {
			delete(a.folds, subject)
			continue
		}
		due = append(due, f)
	}
	slices.SortFunc(due, func(x, y *fold) int {
		return strings.Compare(x.rec.What+"\x00"+x.rec.Subject, y.rec.What+"\x00"+y.rec.Subject)
	})
	var out []policy.Entry
	for _, f := range due {
		if f.rec.Count == 1 {
			f.rec.Count, f.rec.Since = 0, time.Time{}
		}
		out = append(out, a.append(f.rec, now))
		f.until, f.rec = now.Add(a.cfg.Fold), Record{}
	}
	return append(out, a.retain(now)...)
}

func (a *Audit) append(rec Record, now time.Time) policy.Entry {
	for _, text := range []*string{&rec.Who, &rec.What, &rec.Subject, &rec.Before, &rec.After, &rec.Why} {
		if len(*text) > maxText {
			*text = strings.ToValidUTF8((*text)[:maxText], "") + "…"
		}
	}
	rec.Prev = a.head
	a.number++
	e := policy.Entry{
		Kind: policy.KindAudit, Key: a.cfg.Chain + "/" + strconv.FormatUint(a.number, 10),
		Stamp: a.cfg.Clock.Stamp(now), Author: machine, Value: encodeRecord(rec),
	}
	a.head = recordHash(e)
	a.kept = append(a.kept, kept{a.number, rec.Time, a.head})
	return e
}

// retain cuts the oldest records, a tenth more than it must, so that there are few summaries.
func (a *Audit) retain(now time.Time) []policy.Entry {
	n := 0
	if len(a.kept) > a.cfg.Records {
		n = len(a.kept) - a.cfg.Records*9/10
	}
	if a.old(0, now.Add(-a.cfg.Age/10)) {
		for n < len(a.kept)-1 && a.old(n, now) {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	first, last := a.kept[0], a.kept[n-1]
	cut := Cut{First: first.number, Through: last.number, Hash: last.hash, Records: a.cut.Records + n, From: a.cut.From, To: last.time}
	if cut.From.IsZero() {
		cut.From = first.time
	}
	a.cut = cut
	a.kept = slices.Clone(a.kept[n:])
	text := fmt.Sprintf("%d records of %s to %s", cut.Records, cut.From.Format(time.RFC3339), cut.To.Format(time.RFC3339))
	return []policy.Entry{a.append(Record{Time: now.UTC(), Who: machine, What: "audit retention", Subject: a.cfg.Chain, Before: text, Cut: &cut}, now)}
}

func (a *Audit) old(i int, now time.Time) bool {
	return i < len(a.kept)-1 && now.Sub(a.kept[i].time) > a.cfg.Age
}

// SetBack says whether a record that came from a peer shows that this node's folder was set back: it is of the own chain,
// and newer than the newest one here, or another than stands here. Restart is the way on.
func (a *Audit) SetBack(e policy.Entry) bool {
	chain, number, ok := parseRecordKey(e.Key)
	if !ok || chain != a.cfg.Chain {
		return false
	}
	if number > a.number {
		return true
	}
	i, there := slices.BinarySearchFunc(a.kept, number, func(k kept, n uint64) int { return int(int64(k.number) - int64(n)) })
	return there && a.kept[i].hash != recordHash(e)
}

// Restart begins another chain, whose first record names the one before and why.
func (a *Audit) Restart(chain, why string, now time.Time) []policy.Entry {
	old := fmt.Sprintf("%s, %d records", a.cfg.Chain, a.number)
	a.cfg.Chain, a.number, a.head, a.kept, a.cut = chain, 0, "", nil, Cut{}
	return []policy.Entry{a.append(Record{Time: now.UTC(), Who: machine, What: "audit chain", Subject: chain, Before: old, After: chain, Why: why}, now)}
}

func encodeRecord(rec Record) []byte {
	data, err := json.Marshal(rec)
	if err != nil {
		panic("cluster: audit record: " + err.Error()) // its types always encode
	}
	return data
}

func decodeRecord(e policy.Entry) (rec Record, err error) {
	if err := json.Unmarshal(e.Value, &rec); err != nil {
		return rec, fmt.Errorf("audit record %s: %w", e.Key, err)
	}
	return rec, nil
}

// recordHash is what the next record names: of the key and the value.
func recordHash(e policy.Entry) string {
	h := sha256.New()
	h.Write([]byte(e.Key))
	h.Write([]byte{0})
	h.Write(e.Value)
	return hex.EncodeToString(h.Sum(nil))
}

// parseRecordKey reads "NODE/CHAIN/NUMBER".
func parseRecordKey(key string) (chain string, number uint64, ok bool) {
	i := strings.LastIndexByte(key, '/')
	if i < 0 {
		return "", 0, false
	}
	number, err := strconv.ParseUint(key[i+1:], 10, 64)
	if err != nil || number == 0 || strconv.FormatUint(number, 10) != key[i+1:] || !strings.Contains(key[:i], "/") {
		return "", 0, false
	}
	return key[:i], number, true
}
