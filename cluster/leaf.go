package cluster

import (
	"fmt"

	"github.com/scloudstack/pharos/policy"
)

// An entry as it is signed, kept and carried ("leaf"). All integers are big endian, a string is its length (uvarint) and
// its octets, a stamp is wall (8), logical (4), node (string), a time is seconds since 1970 (8) and nanoseconds (4).
//
//	head, the same in every format:
//	  format (1) · merge rule (1) · rank (uvarint) · kind · key · stamp
//	format 1:
//	  flags (1) · author · reason · expires, if flagged · ends, if flagged · over, if flagged ·
//	  break-glass rules (count, strings) · value (string)
//
// A later format keeps the head, so that a node that does not know it can still merge, keep and pass on.
const leafFormat = 1

const (
	flagDeleted = 1 << iota
	flagExpires
	flagEnds
	flagOver
	flagsKnown = 1<<iota - 1
)

// encodeLeaf writes an entry, or says which field is too long to travel.
func encodeLeaf(e policy.Entry) ([]byte, error) {
	if err := fits(e); err != nil {
		return nil, err
	}
	b := make([]byte, 0, 96+len(e.Key)+len(e.Reason)+len(e.Value))
	b = append(b, leafFormat, uint8(e.Kind.Merge()))
	b = putUvarint(b, e.Rank)
	b = putBytes(b, e.Kind)
	b = putBytes(b, e.Key)
	b = putStamp(b, e.Stamp)
	b = append(b, leafFlags(e))
	b = putBytes(b, e.Author)
	b = putBytes(b, e.Reason)
	if !e.Expires.IsZero() {
		b = putTime(b, e.Expires)
	}
	if e.Ends != (policy.Stamp{}) {
		b = putStamp(b, e.Ends)
	}
	if e.Over != (policy.Stamp{}) {
		b = putStamp(b, e.Over)
	}
	b = putUvarint(b, uint64(len(e.BreakGlass)))
	for _, rule := range e.BreakGlass {
		b = putBytes(b, rule)
	}
	return putBytes(b, e.Value), nil
}

func leafFlags(e policy.Entry) (f uint8) {
	if e.Deleted {
		f |= flagDeleted
	}
	if !e.Expires.IsZero() {
		f |= flagExpires
	}
	if e.Ends != (policy.Stamp{}) {
		f |= flagEnds
	}
	if e.Over != (policy.Stamp{}) {
		f |= flagOver
	}
	return f
}

func fits(e policy.Entry) error {
	for _, f := range []struct {
		what      string
		len, most int
	}{
		{"kind", len(e.Kind), maxKind},
		{"key", len(e.Key), maxKey},
		{"stamp's node", len(e.Stamp.Node), maxNode},
		{"author", len(e.Author), maxAuthor},
		{"reason", len(e.Reason), maxReason},
		{"ended stamp's node", len(e.Ends.Node), maxNode},
		{"stamp given over", len(e.Over.Node), maxNode},
		{"break-glass rules", len(e.BreakGlass), maxBreakGlass},
		{"value", len(e.Value), maxValue},
	} {
		if f.len > f.most {
			return fmt.Errorf("entry %s %.80q: %s: %d long, at most %d expected", e.Kind, e.Key, f.what, f.len, f.most)
		}
	}
	if !tellable(e.Stamp.Time()) || !tellable(e.Expires.UTC()) {
		return fmt.Errorf("entry %s %.80q: stamped %d ms since 1970, expires %s: the years 1 to 9999 expected", e.Kind, e.Key, e.Stamp.Wall, e.Expires)
	}
	for _, rule := range e.BreakGlass {
		if len(rule) > maxRule {
			return fmt.Errorf("entry %s %.80q: break-glass rule: %d octets, at most %d expected", e.Kind, e.Key, len(rule), maxRule)
		}
	}
	return nil
}

// decodeLeaf reads a leaf. Of a later format only the head is known, and later is true. The entry's value is a part of b.
func decodeLeaf(b []byte) (e policy.Entry, rule policy.Merge, later bool, err error) {
	r := reader{b: b}
	format := r.u8("entry format")
	rule = policy.Merge(r.u8("merge rule"))
	e.Rank = r.uvarint(1<<64-1, "rank")
	e.Kind = policy.Kind(r.str(maxKind, "kind"))
	e.Key = r.str(maxKey, "key")
	e.Stamp = r.stamp("stamp")
	if r.err != nil {
		return e, rule, false, r.err
	}
	if format == 0 {
		return e, rule, false, fmt.Errorf("entry format 0: %d or later expected", leafFormat)
	}
	if format > leafFormat {
		return e, rule, true, nil
	}
	decodeRest(&r, &e)
	if r.err == nil {
		if own := e.Kind.Merge(); own != policy.MergeLater && own != rule {
			r.fail("entry %s: merge rule %d, %d expected", e.Kind, rule, own)
		}
	}
	return e, rule, false, r.end("entry")
}

func decodeRest(r *reader, e *policy.Entry) {
	flags := r.u8("flags")
	if flags&^flagsKnown != 0 {
		r.fail("entry flags %#x: unknown to format %d", flags, leafFormat)
	}
	e.Deleted = flags&flagDeleted != 0
	e.Author = r.str(maxAuthor, "author")
	e.Reason = r.str(maxReason, "reason")
	if flags&flagExpires != 0 {
		e.Expires = r.time("expires")
	}
	if flags&flagEnds != 0 {
		e.Ends = r.stamp("ended stamp")
	}
	if flags&flagOver != 0 {
		e.Over = r.stamp("stamp given over")
	}
	for n := r.count(maxBreakGlass, 1, "break-glass rules"); n > 0; n-- {
		e.BreakGlass = append(e.BreakGlass, r.str(maxRule, "break-glass rule"))
	}
	if v := r.bytes(maxValue, "value"); len(v) > 0 {
		e.Value = v
	}
}
