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
	for _, file := range []string{"testdata/types.zone"} {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(shop))
	parse := func(text []byte) (*Zone, []Problem, error) {
		apex, _ := NameToWire("types.example.")
		p := &parser{b: newBuilder(apex, newPacer(nil)), generate: 100}
		return p.run(bytes.NewReader(text), "fuzz")
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) > 8<<10 {
			return
		}
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
