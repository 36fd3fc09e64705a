package zones

import (
	"bytes"
	"testing"

	"github.com/miekg/dns"
)

// TestEveryType: every type that miekg/dns knows and a zone can hold loads,
// and is written so that it loads again as the same.
func TestEveryType(t *testing.T) {
	z, warnings, err := ParseFile("types.example.", "testdata/types.zone", Options{})
	if err != nil {
		t.Fatalf("%v\n%v", err, warnings)
	}
	seen := map[uint16]bool{}
	z.Walk(func(owner []byte, sets []RRset, _ NodeFlags) bool {
		for _, s := range sets {
			seen[s.Type] = true
			for rdata := range s.All() {
				buf := buffers.Get().(*buffer)
				text := RecordText(owner, s.Type, s.TTL, rdata) + "\n"
				rec, problem := newRecordParser(".", noTTL, buf.wire).parse(entry{text: []byte(text)})
				if problem != nil || !bytes.Equal(rec.rdata, rdata) || !bytes.Equal(rec.owner, owner) || rec.ttl != s.TTL {
					t.Errorf("%s is read back as %x %d %x: %v", text, rec.owner, rec.ttl, rec.rdata, problem)
				}
			}
		}
		return true
	})
	for typ := range dns.TypeToRR {
		if !seen[typ] && !isMeta(typ) {
			t.Errorf("no %s record in testdata/types.zone", typeText(typ))
		}
	}
	var dump bytes.Buffer
	if _, err := z.WriteTo(&dump); err != nil {
		t.Fatal(err)
	}
	if again := mustParse(t, "types.example.", dump.String()); again.Digest() != z.Digest() {
		t.Errorf("the dump has another digest:\n%s", dump.String())
	}
}
