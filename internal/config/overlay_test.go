package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/scloudstack/pharos/zones"
)

const overlaid = `node: {name: a}
sites: {a: {metro: m}}
nodes: {a: {site: a}}
dns:
  zones:
    - {name: shop.example., file: shop}
    - {name: sub.shop.example., file: sub}
    - {name: lost.shop.example., file: lost}
services:
  shop:
    names:
      - shop.example.
      - www.shop.example.
      - alias.shop.example.
      - in.cut.shop.example.
      - cut.shop.example.
      - under.dname.shop.example.
      - https.shop.example.
      - plain.shop.example.
      - svcb.shop.example.
      - deep.sub.shop.example.
      - any.lost.shop.example.
    endpoints: [{site: a, address: 203.0.113.1}]
`

const shopZone = `$ORIGIN shop.example.
$TTL 300
@ SOA ns hostmaster 1 2 3 4 5
@ NS ns
ns A 192.0.2.1
www A 192.0.2.2
www MX 10 ns
alias CNAME ns
cut NS ns.cut
ns.cut A 192.0.2.3
dname DNAME other.example.
https HTTPS 1 . alpn=h2 ipv6hint=2001:db8::1
plain HTTPS 1 . alpn=h2 port=8443
svcb SVCB 0 elsewhere.example.
svcb TXT x
sub NS ns
lost NS ns
`

func TestCheckZones(t *testing.T) {
	s := fromText(t, overlaid, Options{})
	var loaded []*zones.Zone
	for name, text := range map[string]string{
		"shop.example.":     shopZone,
		"sub.shop.example.": "$TTL 60\n@ SOA ns hostmaster 1 2 3 4 5\n@ NS ns\nns A 192.0.2.1\ndeep SVCB 1 . ipv4hint=192.0.2.9\n",
	} {
		z, _, err := zones.Parse(name, strings.NewReader(text), name, zones.Options{})
		if err != nil {
			t.Fatal(err)
		}
		loaded = append(loaded, z)
	}
	warnings, err := CheckZones(s, append(loaded, nil))
	if err == nil {
		t.Fatal("no error")
	}
	hint := " record there with address hints, which clients would use instead: remove ipv4hint and ipv6hint"
	want := strings.Join([]string{
		"pharos.yaml:14:9: alias.shop.example. can't be steered: the zone has a CNAME record there",
		"pharos.yaml:15:9: in.cut.shop.example. can't be steered: the zone delegates cut.shop.example.",
		"pharos.yaml:16:9: cut.shop.example. can't be steered: the zone delegates cut.shop.example.",
		"pharos.yaml:17:9: under.dname.shop.example. can't be steered: it is below the DNAME record of dname.shop.example.",
		"pharos.yaml:18:9: https.shop.example. is steered, but the zone shop.example. has a static HTTPS" + hint,
		"pharos.yaml:21:9: deep.sub.shop.example. is steered, but the zone sub.shop.example. has a static SVCB" + hint,
	}, "\n")
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
	const warning = "pharos.yaml:13:9: www.shop.example. is steered: the A and AAAA records of the zone shop.example. there are hidden"
	if diff := cmp.Diff(warning, warnings.String()); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
	names := s.SteeredNames()
	if len(names["shop.example."]) != 9 || len(names["sub.shop.example."]) != 1 || len(names["lost.shop.example."]) != 1 {
		t.Errorf("names by zone: %v", names)
	}
}

func TestHasHint(t *testing.T) {
	for text, want := range map[string]bool{
		"":               false,
		"\x00\x01\x00":   false,
		"\x00\x01":       false,
		"\x00\x01\x05ab": false,
		"\x00\x01\x00\x00\x04\x00\x04\xc0\x00\x02\x01":            true,
		"\x00\x01\x01a\x00\x00\x01\x00\x03\x02h2\x00\x06\x00\x10": true,
		"\x00\x01\x00\x00\x03\x00\x02\x01\xbb":                    false,
		"\x00\x01\x00\x00\x01\xff\xff\x00\x04\x00\x04":            false,
	} {
		if got := hasHint([]byte(text)); got != want {
			t.Errorf("hasHint(%q) = %v, want %v", text, got, want)
		}
	}
}
