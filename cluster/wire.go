package cluster

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/scloudstack/pharos/policy"
)

// Bounds of what is read from the network and the disk.
const (
	maxNode       = 128
	maxKind       = 64
	maxKey        = 512
	maxAuthor     = 256
	maxReason     = 4096
	maxBreakGlass = 64
	maxRule       = 128
	maxValue      = 64 << 10
	maxLeaf       = maxValue + 32<<10
)

// reader takes a packet apart. The first error stays, and everything after it reads as zero.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
	}
	r.b = nil
}

func (r *reader) take(n int, what string) []byte {
	if r.err != nil {
		return nil
	}
	if n > len(r.b) {
		r.fail("%s: %d octets expected, %d are left", what, n, len(r.b))
		return nil
	}
	out := r.b[:n:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) u8(what string) uint8 {
	if b := r.take(1, what); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) u32(what string) uint32 {
	if b := r.take(4, what); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (r *reader) u64(what string) uint64 {
	if b := r.take(8, what); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (r *reader) uvarint(limit uint64, what string) uint64 {
	if r.err != nil {
		return 0
	}
	v, n := binary.Uvarint(r.b)
	switch {
	case n <= 0:
		r.fail("%s: no number", what)
		return 0
	case v > limit:
		r.fail("%s: %d, at most %d expected", what, v, limit)
		return 0
	}
	r.b = r.b[n:]
	return v
}

// count reads how many items of at least size octets follow, so that nothing is made for items that can't be there.
func (r *reader) count(limit, size int, what string) int {
	n := int(r.uvarint(uint64(limit), what))
	if n*size > len(r.b) {
		r.fail("%s: %d of them in %d octets", what, n, len(r.b))
		return 0
	}
	return n
}

func (r *reader) bytes(limit int, what string) []byte {
	n := r.uvarint(uint64(limit), what)
	return r.take(int(n), what)
}

func (r *reader) str(limit int, what string) string { return string(r.bytes(limit, what)) }

func (r *reader) node(what string) policy.NodeID { return policy.NodeID(r.str(maxNode, what)) }

func (r *reader) stamp(what string) policy.Stamp {
	s := policy.Stamp{Wall: int64(r.u64(what)), Logical: r.u32(what), Node: r.node(what)}
	if !tellable(s.Time()) {
		r.fail("%s: found %d ms since 1970, the years 1 to 9999 expected", what, s.Wall)
	}
	return s
}

// tellable says whether a time is of the years that JSON can tell: one that is not would keep people from the status of
// every node that holds it.
func tellable(t time.Time) bool { return 1 <= t.Year() && t.Year() <= 9999 }

func (r *reader) time(what string) time.Time {
	sec, nsec := int64(r.u64(what)), r.u32(what)
	if nsec > 999_999_999 || sec > math.MaxInt64/4 || sec < math.MinInt64/4 {
		r.fail("%s: no time", what)
		return time.Time{}
	}
	t := time.Unix(sec, int64(nsec)).UTC()
	if !tellable(t) {
		r.fail("%s: found %d s since 1970, the years 1 to 9999 expected", what, sec)
	}
	return t
}

// end says whether all went well and nothing is left over.
func (r *reader) end(what string) error {
	if r.err == nil && len(r.b) > 0 {
		r.fail("%s: %d octets too many", what, len(r.b))
	}
	return r.err
}

func putU32(b []byte, v uint32) []byte { return binary.BigEndian.AppendUint32(b, v) }
func putU64(b []byte, v uint64) []byte { return binary.BigEndian.AppendUint64(b, v) }

func putUvarint(b []byte, v uint64) []byte { return binary.AppendUvarint(b, v) }

func putBytes[T ~string | ~[]byte](b []byte, v T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(v))), v...)
}

func putStamp(b []byte, s policy.Stamp) []byte {
	b = putU64(b, uint64(s.Wall))
	b = putU32(b, s.Logical)
	return putBytes(b, s.Node)
}

func putTime(b []byte, t time.Time) []byte {
	b = putU64(b, uint64(t.Unix()))
	return putU32(b, uint32(t.Nanosecond()))
}
