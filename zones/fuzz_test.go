package zones

import (
	"bytes"
	"errors"
	"os"
	"testing"
)

// FuzzParse: whatever a file holds, it is refused with places, or gives a zone
// whose dump loads again as the same, and which can be asked anything.
func FuzzParse(f *testing.F) {
	text, err := os.ReadFile("testdata/types.zone")
	if err != nil {
		f.Fatal(err)
	}
	for line := range bytes.Lines(text) {
		f.Add(line)
	}
	for _, s := range []string{
		"$ORIGIN a\nb 1h A 192.0.2.1 ; c\n 1 IN AAAA ::1\n", "$TTL 1w\n$GENERATE 1-3/2 h${1,2,x} A 192.0.2.$\n",
		"a ( TXT \n \"x\" ; y\n ) z\n*.a DNAME b\n", "$INCLUDE a b\n", "a\\000\\.b TYPE1 \\# 4 01020304\n",
	} {
		f.Add([]byte(s))
	}
	const start = "@ 1 SOA . . 1 1 1 1 1\n@ 1 NS a.\n"
	parse := func(text []byte) (*Zone, []Problem, error) {
		apex, _ := NameToWire("types.example.")
		p := &parser{b: newBuilder(apex, newPacer(nil)), generate: 100}
		return p.run(bytes.NewReader(text), "fuzz")
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) > 4<<10 {
			return
		}
		text = append([]byte(start), text...)
		z, _, err := parse(text)
		if err != nil {
			var ps Problems
			if !errors.As(err, &ps) || len(ps) == 0 {
				t.Fatalf("refused without a reason: %v", err)
			}
			for _, p := range ps {
				if p.File != "fuzz" && p.File != "" || p.Line > bytes.Count(text, []byte{'\n'})+1 {
					t.Fatalf("a problem in the wrong place: %+v", p)
				}
			}
			return
		}
		var dump bytes.Buffer
		if _, err := z.WriteTo(&dump); err != nil {
			t.Fatal(err)
		}
		again, _, err := parse(dump.Bytes())
		if err != nil {
			t.Fatalf("the dump does not load: %v\n%s", err, &dump)
		}
		if again.Digest() != z.Digest() {
			t.Fatalf("the dump has another digest\n%s", &dump)
		}
		z.Walk(func(owner []byte, _ []RRset, _ NodeFlags) bool {
			for _, typ := range []uint16{typeA, typeDS, typeANY} {
				if r := z.Lookup(owner, typ); r.Kind == Outside || r.Kind == NXDomain {
					t.Fatalf("%s is in the zone, and not found", NameText(owner))
				}
			}
			return true
		})
	})
}
