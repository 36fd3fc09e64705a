package cluster

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/scloudstack/pharos/policy"
)

// Listed is a record in its place.
type Listed struct {
	Chain  string
	Number uint64
	Hash   string // which the next record names
	Record
}

// Records lists the audit records among entries, by time; those that can't be read are left to Verify.
func Records(held []policy.Entry) []Listed {
	var out []Listed
	for _, e := range held {
		chain, number, ok := parseRecordKey(e.Key)
		if e.Kind != policy.KindAudit || !ok {
			continue
		}
		if rec, err := decodeRecord(e); err == nil {
			out = append(out, Listed{chain, number, recordHash(e), rec})
		}
	}
	slices.SortFunc(out, func(a, b Listed) int {
		return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Chain, b.Chain), cmp.Compare(a.Number, b.Number))
	})
	return out
}

// Verdict is what Verify finds of one chain.
type Verdict struct {
	Chain       string
	Records     int       // that are there
	First, Last uint64    // their numbers
	Head        string    // hash of the last
	From, To    time.Time // of these
	Cut         *Cut      // what retention took away before First
	Breaks      []Break   // none: every record is there and as it was written
}

// Break is a place where a chain does not hold.
type Break struct {
	Number uint64
	Text   string
}

// Verify checks every chain among entries, by name.
func Verify(held []policy.Entry) []Verdict {
	chains := map[string]bool{}
	for _, e := range held {
		if chain, _, ok := parseRecordKey(e.Key); ok && e.Kind == policy.KindAudit {
			chains[chain] = true
		}
	}
	var out []Verdict
	for chain := range chains {
		out = append(out, verifyChain(chain, chainOf(chain, held)))
	}
	slices.SortFunc(out, func(a, b Verdict) int { return cmp.Compare(a.Chain, b.Chain) })
	return out
}

// chainOf picks the records of one chain, by number.
func chainOf(chain string, held []policy.Entry) []policy.Entry {
	var out []policy.Entry
	for _, e := range held {
		if c, _, ok := parseRecordKey(e.Key); ok && e.Kind == policy.KindAudit && c == chain {
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(a, b policy.Entry) int { return cmp.Compare(recordNumber(a), recordNumber(b)) })
	return out
}

func recordNumber(e policy.Entry) uint64 {
	_, n, _ := parseRecordKey(e.Key)
	return n
}

func verifyChain(chain string, list []policy.Entry) Verdict {
	last := list[len(list)-1]
	v := Verdict{Chain: chain, Records: len(list), First: recordNumber(list[0]), Last: recordNumber(last), Head: recordHash(last)}
	records := make([]Record, len(list))
	for i, e := range list {
		rec, err := decodeRecord(e)
		if err != nil {
			v.breakAt(recordNumber(e), "it can't be read: %v", err)
		}
		if records[i] = rec; rec.Cut != nil {
			v.Cut = rec.Cut
		}
	}
	v.From, v.To = records[0].Time, records[len(records)-1].Time
	number, hash := uint64(0), ""
	if v.Cut != nil {
		number, hash = v.Cut.Through, v.Cut.Hash
	}
	for i, e := range list {
		n := recordNumber(e)
		switch {
		case n <= number:
			continue // it was cut, and is still here
		case n == number+2:
			v.breakAt(number+1, "it is missing")
		case n > number+1:
			v.breakAt(number+1, "it and the records up to %d are missing", n-1)
		case records[i].Prev != hash:
			v.breakAt(n, "it names another record before it than number %d as it stands here: one of the two was altered", number)
		}
		number, hash = n, recordHash(e)
	}
	return v
}

func (v *Verdict) breakAt(number uint64, format string, args ...any) {
	v.Breaks = append(v.Breaks, Break{number, fmt.Sprintf(format, args...)})
}
