package zones

import (
	"bytes"
	"strings"
	"testing"
)

const shop = `$ORIGIN shop.example.
$TTL 1h
@	SOA	ns1 hostmaster 2026112301 2h 15m 2w 5m
	NS	ns1
	NS	ns2.sub
	MX	10 mail
ns1	A	192.0.2.1
mail	A	192.0.2.2
www	300 A	192.0.2.80
	AAAA	2001:db8::80
a.b.c	TXT	"deep"
*.wild	A	192.0.2.9
alias	CNAME	www
sub	NS	ns2.sub
	DS	1 8 2 E2D3C916F6DEEAC73294E8268FB5885044A833FC5459588F4A9184CFC41A5766
ns2.sub	A	192.0.2.53
old	DNAME	new.example.
`

func mustParse(t testing.TB, origin, text string) *Zone {
	t.Helper()
	z, _, err := Parse(origin, strings.NewReader(text), "test.zone", Options{})
	if err != nil {
		t.Fatalf("parse %s:\n%v", origin, err)
	}
	return z
}

func TestDumpLoadsAgain(t *testing.T) {
	z := mustParse(t, "shop.example.", shop)
	var b bytes.Buffer
	if _, err := z.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	again := mustParse(t, "shop.example.", b.String())
	if z.Digest() != again.Digest() || z.Records() != again.Records() {
		t.Fatalf("another digest after loading the dump:\n%s", b.String())
	}
	if z.Serial() != 2026112301 || z.NegativeTTL() != 300 || z.Records() != 15 {
		t.Errorf("serial %d, negative TTL %d, %d records", z.Serial(), z.NegativeTTL(), z.Records())
	}
}

func TestLookupKinds(t *testing.T) {
	z := mustParse(t, "shop.example.", shop)
	steered, err := z.WithNames("app.svc.shop.example.", "shop.example.", "www.shop.example.")
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name  string
		qtype uint16
		plain Kind
		over  Kind
		owner string
	}{
		{"www", 1, Success, Steered, "www"},
		{"www", 16, NoData, NoData, "www"},
		{"b.c", 1, NoData, NoData, ""},
		{"x.b.c", 1, NXDomain, NXDomain, ""},
		{"x.wild", 1, Success, Success, "x.wild"},
		{"x.y.wild", 16, NoData, NoData, ""},
		{"alias", 1, CNAME, CNAME, "alias"},
		{"alias", 5, Success, Success, "alias"},
		{"x.sub", 1, Delegation, Delegation, "sub"},
		{"sub", 1, Delegation, Delegation, "sub"},
		{"sub", 43, Success, Success, "sub"},
		{"ns2.sub", 1, Delegation, Delegation, "sub"},
		{"x.y.old", 1, DNAME, DNAME, "old"},
		{"old", 1, NoData, NoData, ""},
		{"app.svc", 1, NXDomain, Steered, ""},
		{"app.svc", 15, NXDomain, NoData, ""},
		{"svc", 1, NXDomain, NoData, ""},
		{"", 1, NoData, Steered, ""},
		{"", 15, Success, Success, ""},
		{"", 255, Success, Steered, ""},
	} {
		q := tc.name + ".shop.example."
		if tc.name == "" {
			q = "shop.example."
		}
		wire, err := NameToWire(q)
		if err != nil {
			t.Fatal(err)
		}
		for i, zone := range []*Zone{z, steered} {
			r := zone.Lookup(wire, tc.qtype)
			if want := []Kind{tc.plain, tc.over}[i]; r.Kind != want {
				t.Errorf("%s %s (steered %v): kind %d, want %d", q, typeText(tc.qtype), i == 1, r.Kind, want)
			}
			if tc.owner != "" && NameText(r.RRset.Owner) != tc.owner+".shop.example." {
				t.Errorf("%s %s: owner %s", q, typeText(tc.qtype), NameText(r.RRset.Owner))
			}
		}
	}
	if n := testing.AllocsPerRun(100, func() { steered.Lookup(z.apex, 1) }); n != 0 {
		t.Errorf("a lookup allocates %v times", n)
	}
}
