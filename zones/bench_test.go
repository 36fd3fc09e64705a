package zones

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// bigZone makes the text of a zone of about n records: hosts with A, one in
// four with AAAA and TXT as well.
func bigZone(n int) []byte {
	var b bytes.Buffer
	b.WriteString("$ORIGIN big.example.\n$TTL 3600\n@ SOA ns1 host 1 7200 900 1209600 300\n@ NS ns1\nns1 A 192.0.2.1\n")
	for i := 3; i < n; {
		fmt.Fprintf(&b, "host%07d A 10.%d.%d.%d\n", i, i>>16&255, i>>8&255, i&255)
		i++
		if i%2 == 0 && i < n {
			fmt.Fprintf(&b, "\tAAAA 2001:db8::%x\n", i&0xffff)
			i++
		}
		if i%8 == 0 && i < n {
			fmt.Fprintf(&b, "\tTXT \"host number %d\"\n", i)
			i++
		}
	}
	return b.Bytes()
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkLoadMillion loads one zone of 1,000,000 records.
func BenchmarkLoadMillion(b *testing.B) {
	text := bigZone(1_000_000)
	before := heap()
	var z *Zone
	for b.Loop() {
		var err error
		if z, _, err = Parse("big.example.", bytes.NewReader(text), "big", Options{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(heap()-before)/float64(z.Records()), "heap-B/record")
	b.ReportMetric(float64(z.Records()), "records")
	runtime.KeepAlive(text)
}

// BenchmarkLoadManySmall loads 10,000 zones of 12 records from files.
func BenchmarkLoadManySmall(b *testing.B) {
	dir := b.TempDir()
	var specs []Spec
	for i := range 10_000 {
		s := Spec{Name: fmt.Sprintf("zone%d.example.", i), File: filepath.Join(dir, fmt.Sprint(i))}
		text := "$TTL 300\n@ SOA ns1 host 1 7200 900 1209600 300\n@ NS ns1\nns1 A 192.0.2.1\n@ MX 10 mail\nmail A 192.0.2.2\nwww A 192.0.2.3\nwww AAAA 2001:db8::3\n@ TXT \"v=spf1 -all\"\nftp CNAME www\na A 192.0.2.4\nb A 192.0.2.5\n"
		if err := os.WriteFile(s.File, []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
		specs = append(specs, s)
	}
	before := heap()
	var zs []*Zone
	for b.Loop() {
		zs = zs[:0]
		for _, s := range specs {
			z, _, err := ParseFile(s.Name, s.File, Options{})
			if err != nil {
				b.Fatal(err)
			}
			zs = append(zs, z)
		}
	}
	b.ReportMetric(float64(heap()-before)/float64(len(zs)*zs[0].Records()), "heap-B/record")
	b.ReportMetric(float64(len(zs)), "zones")
}

func BenchmarkLookup(b *testing.B) {
	z := mustParse(b, "big.example.", string(bigZone(1_000_000)))
	var names [1024][]byte
	for i := range names {
		names[i], _ = NameToWire(fmt.Sprintf("host%07d.big.example.", i*977))
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		z.Lookup(names[i%len(names)], typeA)
		i++
	}
}
