package integration

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/scloudstack/pharos/zones"
)

// zoneHead is a good zone that most cases add to.
const zoneHead = `$ORIGIN example.com.
$TTL 3600
@	IN	SOA	ns1 hostmaster 1 7200 900 1209600 300
@	IN	NS	ns1
ns1	IN	A	192.0.2.1
`

// zoneCase is a small zone file, put after zoneHead unless it is whole.
type zoneCase struct {
	name  string
	text  string
	whole bool
	// refuse says why Pharos refuses what some peer loads; quiet, why it does
	// not warn of what some peer refuses or warns of.
	refuse, quiet string
}

const (
	noZone    = "the zone would have no one authority"
	otherwise = "the peer that loads it reads something other than the text says"
	onlyNamed = "only named reads this notation"
	metaType  = "the type is none of a zone's data (RFC 6895 §3.1)"
)

var zoneCases = []zoneCase{
	{name: "good"},
	{name: "no SOA", whole: true, text: "$TTL 60\nexample.com. IN NS ns1.example.com.\nns1.example.com. IN A 192.0.2.1\n"},
	{name: "empty file", whole: true, text: ""},
	{name: "only comments", whole: true, text: "; nothing\n\n"},
	{name: "no NS at the apex", whole: true, text: "example.com. 60 IN SOA a. b. 1 2 3 4 5\nwww.example.com. 60 IN A 192.0.2.1\n", refuse: noZone},
	{name: "two SOA", text: "@ IN SOA ns2 hostmaster 2 7200 900 1209600 300\n", refuse: noZone},
	{name: "same SOA twice", text: "@ IN SOA ns1 hostmaster 1 7200 900 1209600 300\n"},
	{name: "SOA below the apex", text: "sub IN SOA ns1 hostmaster 1 7200 900 1209600 300\n", refuse: noZone},
	{name: "SOA of another name", whole: true, text: "$TTL 60\nexample.org. IN SOA ns1.example.com. h.example.com. 1 2 3 4 5\nexample.com. IN NS ns1.example.com.\nns1.example.com. IN A 192.0.2.1\n"},
	{name: "SOA not first", whole: true, text: "$TTL 60\nexample.com. IN NS ns1.example.com.\nexample.com. IN SOA ns1.example.com. h.example.com. 1 2 3 4 5\nns1.example.com. IN A 192.0.2.1\n"},
	{name: "CNAME and A", text: "www IN CNAME ns1\nwww IN A 192.0.2.2\n"},
	{name: "A and CNAME", text: "www IN A 192.0.2.2\nwww IN CNAME ns1\n"},
	{name: "CNAME and TXT", text: "www IN CNAME ns1\nwww IN TXT x\n"},
	{name: "CNAME at the apex", text: "@ IN CNAME www\nwww IN A 192.0.2.2\n"},
	{name: "two CNAME", text: "www IN CNAME a\nwww IN CNAME b\n"},
	{name: "same CNAME twice", text: "www IN CNAME ns1\nwww IN CNAME ns1\n"},
	{name: "CNAME with KEY", text: "www IN CNAME ns1\nwww IN KEY 256 3 13 aGVsbG8gd29ybGQgaGVsbG8gd29ybGQgaGVsbG8gd29ybGQ=\n"},
	{name: "CNAME and DNAME", text: "www IN CNAME ns1\nwww IN DNAME example.org.\n"},
	{name: "CNAME with a child", text: "www IN CNAME ns1\nx.www IN A 192.0.2.2\n"},
	{name: "CNAME loop", text: "a IN CNAME b\nb IN CNAME a\n"},
	{name: "CNAME to itself", text: "a IN CNAME a\n"},
	{name: "CNAME to nothing", text: "a IN CNAME b\n"},
	{name: "two DNAME", text: "a IN DNAME example.org.\na IN DNAME example.net.\n"},
	{name: "DNAME and A", text: "a IN DNAME example.org.\na IN A 192.0.2.2\n"},
	{name: "DNAME and NS", text: "a IN DNAME example.org.\na IN NS ns1.example.org.\n"},
	{name: "DNAME at the apex", text: "@ IN DNAME example.org.\n"},
	{name: "DNAME at the apex alone", whole: true, text: "$TTL 60\nexample.com. IN SOA a. b. 1 2 3 4 5\nexample.com. IN NS ns1.example.net.\nexample.com. IN DNAME example.org.\n"},
	{name: "data below a DNAME", text: "a IN DNAME example.org.\nx.a IN A 192.0.2.2\n"},
	{name: "wildcard DNAME", text: "*.a IN DNAME example.org.\n"},
	{name: "data outside", text: "www.example.org. IN A 192.0.2.2\n"},
	{name: "data outside, apex as a label's end", text: "xexample.com. IN A 192.0.2.2\n"},
	{name: "delegation with glue", text: "sub IN NS ns.sub\nns.sub IN A 192.0.2.3\n"},
	{name: "delegation without glue", text: "sub IN NS ns.sub\n"},
	{name: "delegation to a name that is not there", text: "sub IN NS nothere\n"},
	{name: "delegation elsewhere", text: "sub IN NS ns.example.org.\n"},
	{name: "sibling glue missing", text: "sub IN NS ns.other\nother IN NS ns.other\n"},
	{name: "data below a delegation", text: "sub IN NS ns.sub\nns.sub IN A 192.0.2.3\nx.sub IN TXT occluded\n"},
	{name: "delegation below a delegation", text: "sub IN NS ns.sub\nns.sub IN A 192.0.2.3\nx.sub IN NS ns.sub\n"},
	{name: "A at a delegation", text: "sub IN NS ns.sub\nsub IN A 192.0.2.9\nns.sub IN A 192.0.2.3\n"},
	{name: "MX at a delegation", text: "sub IN NS ns.sub\nsub IN MX 10 ns1\nns.sub IN A 192.0.2.3\n"},
	{name: "wildcard delegation", text: "*.sub IN NS ns1\n"},
	{name: "apex NS without address", whole: true, text: "$TTL 60\nexample.com. IN SOA a. b. 1 2 3 4 5\nexample.com. IN NS ns1\n"},
	{name: "apex NS is a CNAME", text: "@ IN NS ns2\nns2 IN CNAME ns1\n"},
	{name: "NS is a CNAME", text: "sub IN NS ns2\nns2 IN CNAME ns1\n"},
	{name: "NS is an address", text: "sub IN NS 192.0.2.1\n"},
	{name: "MX is a CNAME", text: "@ IN MX 10 m\nm IN CNAME ns1\n"},
	{name: "MX without address", text: "@ IN MX 10 m\n"},
	{name: "MX is an address", text: "@ IN MX 10 192.0.2.1\n"},
	{name: "null MX", text: "@ IN MX 0 .\n"},
	{name: "SRV without address", text: "_x._tcp IN SRV 0 0 1 m\n"},
	{name: "SRV is a CNAME", text: "_x._tcp IN SRV 0 0 1 m\nm IN CNAME ns1\n"},
	{name: "different TTLs", text: "www 60 IN A 192.0.2.2\nwww 120 IN A 192.0.2.3\n"},
	{name: "duplicate A", text: "www IN A 192.0.2.2\nwww IN A 192.0.2.2\n"},
	{name: "duplicate A with another TTL", text: "www 60 IN A 192.0.2.2\nwww 120 IN A 192.0.2.2\n"},
	{name: "duplicate NS in another case", text: "@ IN NS NS1.example.COM.\n"},
	{name: "duplicate TXT in another case", text: "@ IN TXT a\n@ IN TXT A\n"},
	{name: "no TTL anywhere", whole: true, text: "example.com. IN SOA a. b. 1 2 3 4 5\nexample.com. IN NS ns1.example.net.\n"},
	{name: "TTL only with the SOA", whole: true, text: "example.com. 77 IN SOA a. b. 1 2 3 4 5\nexample.com. IN NS ns1.example.net.\n"},
	{name: "TTL 2^31-1", text: "www 2147483647 IN A 192.0.2.2\n"},
	{name: "TTL 2^31", text: "www 2147483648 IN A 192.0.2.2\n"},
	{name: "TTL 2^32-1", text: "www 4294967295 IN A 192.0.2.2\n"},
	{name: "TTL 2^32", text: "www 4294967296 IN A 192.0.2.2\n", refuse: otherwise},
	{name: "TTL 2^64+1", text: "www 18446744073709551617 IN A 192.0.2.2\n", refuse: otherwise},
	{name: "TTL negative", text: "www -1 IN A 192.0.2.2\n"},
	{name: "TTL units", text: "www 1h30m IN A 192.0.2.2\n"},
	{name: "TTL units, odd", text: "www 1x IN A 192.0.2.2\n"},
	{name: "TTL after the class", text: "www IN 60 A 192.0.2.2\n"},
	{name: "$TTL 2^31", text: "$TTL 2147483648\nwww IN A 192.0.2.2\n"},
	{name: "$TTL 2^32", text: "$TTL 4294967296\nwww IN A 192.0.2.2\n", refuse: otherwise},
	{name: "$TTL without value", text: "$TTL\nwww IN A 192.0.2.2\n"},
	{name: "$TTL with two values", text: "$TTL 1 2\nwww IN A 192.0.2.2\n"},
	{name: "$TTL word", text: "$TTL soon\nwww IN A 192.0.2.2\n"},
	{name: "$ttl in lower case", text: "$ttl 60\nwww IN A 192.0.2.2\n"},
	{name: "$ORIGIN relative", text: "$ORIGIN sub\nwww IN A 192.0.2.2\n"},
	{name: "$ORIGIN outside, no data", text: "$ORIGIN example.org.\n"},
	{name: "$ORIGIN without value", text: "$ORIGIN\nwww IN A 192.0.2.2\n"},
	{name: "$ORIGIN with an empty label", text: "$ORIGIN a..b.\nwww IN A 192.0.2.2\n"},
	{name: "unknown directive", text: "$FOO bar\n"},
	{name: "$ alone", text: "$ IN A 192.0.2.2\n"},
	{name: "escaped dollar", text: "\\$foo IN TXT x\n"},
	{name: "class CH", text: "www CH TXT x\n"},
	{name: "class unknown", text: "www CLASS7 A 192.0.2.2\n"},
	{name: "class CLASS1", text: "www CLASS1 A 192.0.2.2\n", quiet: "RFC 3597 §5 has CLASS1 for IN; only Knot lacks it"},
	{name: "class left out", text: "www 60 A 192.0.2.2\n"},
	{name: "type unknown", text: "www IN FOO bar\n"},
	{name: "type left out", text: "www IN 192.0.2.2\n"},
	{name: "A out of range", text: "www IN A 192.0.2.256\n"},
	{name: "A too short", text: "www IN A 192.0.2\n"},
	{name: "A with leading zeros", text: "www IN A 192.0.002.001\n"},
	{name: "A with IPv6", text: "www IN A 2001:db8::1\n"},
	{name: "A without data", text: "www IN A\n"},
	{name: "A with two addresses", text: "www IN A 192.0.2.2 192.0.2.3\n"},
	{name: "AAAA with IPv4", text: "www IN AAAA 192.0.2.2\n"},
	{name: "AAAA mapped", text: "www IN AAAA ::ffff:192.0.2.2\n"},
	{name: "AAAA with a zone", text: "www IN AAAA fe80::1%eth0\n"},
	{name: "AAAA malformed", text: "www IN AAAA 2001:db8:::1\n"},
	{name: "MX without preference", text: "@ IN MX ns1\n"},
	{name: "MX preference 65536", text: "@ IN MX 65536 ns1\n", refuse: otherwise},
	{name: "SRV three fields", text: "_x._tcp IN SRV 0 0 ns1\n"},
	{name: "SOA six fields", whole: true, text: "$TTL 60\n@ IN SOA a b 1 2 3 4\n@ IN NS ns1.example.net.\n"},
	{name: "SOA serial 2^32", whole: true, text: "$TTL 60\n@ IN SOA a b 4294967296 2 3 4 5\n@ IN NS ns1.example.net.\n", refuse: otherwise},
	{name: "TXT without data", text: "www IN TXT\n"},
	{name: "TXT empty string", text: "www IN TXT \"\"\n"},
	{name: "TXT of 255", text: "www IN TXT \"" + strings.Repeat("x", 255) + "\"\n"},
	{name: "TXT of 256", text: "www IN TXT \"" + strings.Repeat("x", 256) + "\"\n"},
	{name: "TXT with a semicolon quoted", text: "www IN TXT \"v=DKIM1; k=rsa\"\n"},
	{name: "TXT with a semicolon bare", text: "www IN TXT v=DKIM1; k=rsa\n"},
	{name: "TXT over lines", text: "www IN TXT ( \"a\"\n\t\"b\" )\n"},
	{name: "TXT quote over lines", text: "www IN TXT \"a\nb\"\n", refuse: otherwise},
	{name: "TXT quote not closed", text: "www IN TXT \"a\nx IN A 192.0.2.2\n"},
	{name: "TXT strings without a blank", text: "www IN TXT \"a\"\"b\"\n"},
	{name: "TXT escape 256", text: "www IN TXT \"\\256\"\n", refuse: otherwise},
	{name: "TXT escape of two digits", text: "www IN TXT \"\\25\"\n", refuse: otherwise},
	{name: "TXT octets above 127", text: "www IN TXT \"caf\xc3\xa9\"\n"},
	{name: "parenthesis not closed", text: "www IN TXT ( a\n", refuse: otherwise},
	{name: "parenthesis too many", text: "www IN TXT a )\n"},
	{name: "parenthesis in front", text: "( www IN A 192.0.2.2 )\n", refuse: onlyNamed},
	{name: "nested parentheses", text: "www IN TXT ( a ( b ) )\n"},
	{name: "garbage after the data", text: "www IN A 192.0.2.2 foo\n"},
	{name: "label of 63", text: strings.Repeat("a", 63) + " IN A 192.0.2.2\n"},
	{name: "label of 64", text: strings.Repeat("a", 64) + " IN A 192.0.2.2\n"},
	{name: "name of 255", text: strings.Repeat(strings.Repeat("a", 60)+".", 3) + strings.Repeat("b", 57) + " IN A 192.0.2.2\n"},
	{name: "name of 256", text: strings.Repeat(strings.Repeat("a", 60)+".", 3) + strings.Repeat("b", 60) + " IN A 192.0.2.2\n"},
	{name: "empty label", text: "a..b IN A 192.0.2.2\n"},
	{name: "leading dot", text: ".a IN A 192.0.2.2\n"},
	{name: "escaped dot", text: "a\\.b IN A 192.0.2.2\n"},
	{name: "escape of an octet", text: "a\\007b IN TXT x\n"},
	{name: "escape 256 in a name", text: "a\\256b IN TXT x\n", refuse: otherwise},
	{name: "underscore with A", text: "a_b IN A 192.0.2.2\n"},
	{name: "underscore with TXT", text: "_dmarc IN TXT x\n"},
	{name: "hyphen in front with A", text: "-a IN A 192.0.2.2\n"},
	{name: "name of octets above 127", text: "caf\xc3\xa9 IN A 192.0.2.2\n"},
	{name: "star inside", text: "a.*.b IN TXT x\n"},
	{name: "at in the rdata", text: "www IN CNAME @\n"},
	{name: "blank owner first", whole: true, text: "$TTL 60\n IN SOA ns1.example.net. h 1 2 3 4 5\n IN NS ns1.example.net.\n"},
	{name: "carriage returns", text: "www IN A 192.0.2.2\r\nx IN A 192.0.2.3\r\n"},
	{name: "no newline at the end", text: "www IN A 192.0.2.2"},
	{name: "byte order mark", whole: true, text: "\ufeff" + zoneHead},
	{name: "NUL in the file", text: "www IN A 192.0.2.2\n\x00\n"},
	{name: "NUL in a TXT", text: "www IN TXT \"a\x00b\"\n"},
	{name: "unknown type, RFC 3597", text: "www IN TYPE65280 \\# 4 0A000001\n"},
	{name: "unknown type, length wrong", text: "www IN TYPE65280 \\# 5 0A000001\n", refuse: otherwise},
	{name: "unknown type, odd digits", text: "www IN TYPE65280 \\# 4 0A00000\n"},
	{name: "unknown type, no digits", text: "www IN TYPE65280 \\# 0\n"},
	{name: "unknown type, no notation", text: "www IN TYPE65280 foo\n"},
	{name: "known type, RFC 3597", text: "www IN TYPE1 \\# 4 0A000001\n"},
	{name: "known type, RFC 3597, mnemonic", text: "www IN A \\# 4 0A000001\n"},
	{name: "known type, RFC 3597, length wrong", text: "www IN A \\# 5 0A00000102\n", refuse: otherwise},
	{name: "known type, RFC 3597, too short", text: "www IN A \\# 3 0A0000\n", refuse: otherwise},
	{name: "known type, RFC 3597, none", text: "www IN A \\# 0\n"},
	{name: "TYPE1 in plain", text: "www IN TYPE1 192.0.2.2\n"},
	{name: "type 0", text: "www IN TYPE0 \\# 1 00\n", refuse: metaType},
	{name: "type ANY", text: "www IN ANY 192.0.2.2\n"},
	{name: "type OPT", text: "www IN TYPE41 \\# 0\n", refuse: metaType},
	{name: "type AXFR", text: "www IN TYPE252 \\# 1 00\n", refuse: metaType},
	{name: "type TSIG", text: "www IN TYPE250 \\# 1 00\n", refuse: metaType},
	{name: "type 200", text: "www IN TYPE200 \\# 1 00\n", refuse: metaType},
	{name: "DS at the apex", text: "@ IN DS 1 8 2 E2D3C916F6DEEAC73294E8268FB5885044A833FC5459588F4A9184CFC41A5766\n"},
	{name: "DS without delegation", text: "www IN DS 1 8 2 E2D3C916F6DEEAC73294E8268FB5885044A833FC5459588F4A9184CFC41A5766\n"},
	{name: "DS with a short digest", text: "sub IN NS ns1\nsub IN DS 1 8 2 E2D3\n"},
	{name: "DNSKEY with bad base64", text: "@ IN DNSKEY 257 3 13 %%%%\n"},
	{name: "CAA", text: "@ IN CAA 0 issue \"ca.example.net\"\n"},
	{name: "CAA flag 256", text: "@ IN CAA 256 issue \"ca.example.net\"\n", refuse: otherwise},
	{name: "NAPTR", text: "@ IN NAPTR 10 10 \"u\" \"E2U+sip\" \"!^.*$!sip:x@example.com!\" .\n"},
	{name: "LOC", text: "@ IN LOC 51 30 12.748 N 0 7 39.611 W 0.00m 0.00m 0.00m 0.00m\n"},
	{name: "HTTPS", text: "@ IN HTTPS 1 . alpn=h2 ipv4hint=192.0.2.1\n"},
	{name: "HTTPS alias", text: "@ IN HTTPS 0 www\nwww IN A 192.0.2.2\n"},
	{name: "HTTPS key twice", text: "@ IN HTTPS 1 . alpn=h2 alpn=h3\n"},
	{name: "TLSA", text: "_443._tcp.www IN TLSA 3 1 1 E2D3C916F6DEEAC73294E8268FB5885044A833FC5459588F4A9184CFC41A5766\n"},
	{name: "SSHFP", text: "www IN SSHFP 1 1 E2D3C916F6DEEAC73294E8268FB5885044A833FC\n"},
	{name: "$INCLUDE of nothing", text: "$INCLUDE nothere.zone\n"},
	{name: "$INCLUDE without value", text: "$INCLUDE\n"},
	{name: "$INCLUDE of itself", text: "$INCLUDE zone\n"},
	{name: "$GENERATE backwards", text: "$GENERATE 9-1 h$ A 192.0.2.$\n"},
	{name: "$GENERATE without data", text: "$GENERATE 1-9\n"},
	{name: "$GENERATE", text: "$GENERATE 1-9 h$ A 192.0.2.$\n", quiet: "Pharos offers it as named does"},
	{name: "serial 0", whole: true, text: "$TTL 60\n@ IN SOA a. b. 0 2 3 4 5\n@ IN NS ns1.example.net.\n"},
	{name: "TTL 0", text: "www 0 IN A 192.0.2.2\n"},
	{name: "type and class in lower case", text: "www in a 192.0.2.2\n"},
	{name: "X25 quoted", text: "www IN X25 \"311061700956\"\n", quiet: "Knot lacks the type"},
	{name: "X25 bare", text: "www IN X25 311061700956\n", quiet: "Knot lacks the type"},
	{name: "ISDN one string", text: "www IN ISDN \"150862028003217\"\n", quiet: "Knot lacks the type"},
	{name: "GPOS quoted", text: "www IN GPOS \"-32.6882\" \"116.8652\" \"10.0\"\n"},
	{name: "HINFO bare", text: "www IN HINFO PC Linux\n"},
	{name: "HINFO one string", text: "www IN HINFO PC\n"},
	{name: "HINFO three strings", text: "www IN HINFO a b c\n"},
	{name: "HINFO one string with a blank", text: "www IN HINFO \"a b\"\n"},
	{name: "NAPTR bare", text: "www IN NAPTR 10 10 u E2U+sip !^.*$!sip:x! .\n", quiet: "the quotes are optional (RFC 1035 §5.1); only NSD wants them"},
	{name: "NAPTR half quoted", text: "www IN NAPTR 10 10 u \"E2U+sip\" \"\" @\n"},
	{name: "CAA bare", text: "www IN CAA 0 issue ca.example.net\n"},
	{name: "CAA empty value", text: "www IN CAA 0 issue \"\"\n"},
	{name: "CAA tag quoted", text: "www IN CAA 0 \"issue\" \"x\"\n"},
	{name: "CAA without value", text: "www IN CAA 0 issue\n"},
	{name: "URI bare", text: "www IN URI 10 1 https://example.com/\n"},
	{name: "TXT mixed", text: "www IN TXT a \"b c\" d\n"},
	{name: "TXT quote inside a word", text: "www IN TXT a\"b\"c\n"},
	{name: "TXT escapes", text: "www IN TXT \"a\\\"b\\\\c\\000\\255\" d\\032e\n"},
	{name: "TXT very long", text: "www IN TXT (" + strings.Repeat("\""+strings.Repeat("x", 255)+"\"\n", 200) + ")\n"},
	{name: "TXT too long", text: "www IN TXT (" + strings.Repeat("\""+strings.Repeat("x", 255)+"\"\n", 257) + ")\n"},
	{name: "DS digest in pieces", text: "sub IN NS ns1\nsub IN DS 1 8 2 ( E2D3C916F6DEEAC73294E8268FB58850\n 44A833FC5459588F4A9184CFC41A5766 )\n"},
	{name: "DS algorithm by name", text: "sub IN NS ns1\nsub IN DS 1 RSASHA256 2 E2D3C916F6DEEAC73294E8268FB5885044A833FC5459588F4A9184CFC41A5766\n"},
	{name: "DS digest type by name", text: "sub IN NS ns1\nsub IN DS 1 8 SHA-256 E2D3C916F6DEEAC73294E8268FB5885044A833FC5459588F4A9184CFC41A5766\n", refuse: onlyNamed},
	{name: "DNSKEY key in pieces", text: "@ IN DNSKEY 257 3 13 aGVsbG8gd29ybGQgaGVsbG8g d29ybGQgaGVsbG8gd29ybGQgaGVsbG8gd29ybGQgaGVsbG8gd29ybGQgaGVsbG8g\n"},
	{name: "DNSKEY algorithm by name", text: "@ IN DNSKEY 257 3 ECDSAP256SHA256 aGVsbG8gd29ybGQgaGVsbG8gd29ybGQgaGVsbG8gd29ybGQgaGVsbG8gd29ybGQgaGVsbG8gd29ybGQgaGVsbG8g\n"},
	{name: "TLSA in pieces", text: "_443._tcp IN TLSA 3 1 1 E2D3C916F6DEEAC73294E8268FB58850 44A833FC5459588F4A9184CFC41A5766\n"},
	{name: "SSHFP in pieces", text: "www IN SSHFP 1 1 E2D3C916F6DEEAC7 3294E8268FB5885044A833FC\n"},
	{name: "OPENPGPKEY", text: "www IN OPENPGPKEY aGVsbG8g d29ybGQ=\n"},
	{name: "LOC short", text: "www IN LOC 51 N 0 W 0m\n"},
	{name: "LOC out of range", text: "www IN LOC 91 0 0 N 0 7 39.611 W 0.00m\n", refuse: otherwise},
	{name: "SVCB alpn quoted", text: "www IN SVCB 1 ns1 alpn=\"h2,h3\" port=\"53\"\n"},
	{name: "SVCB unknown key", text: "www IN SVCB 1 ns1 key667=hello key668\n"},
	{name: "SVCB keys out of order", text: "www IN SVCB 1 ns1 port=53 alpn=h2\n"},
	{name: "SVCB mandatory missing", text: "www IN SVCB 1 ns1 mandatory=alpn\n"},
	{name: "SVCB alias with keys", text: "www IN SVCB 0 ns1 alpn=h2\n"},
	{name: "SVCB bad port", text: "www IN SVCB 1 ns1 port=99999\n"},
	{name: "APL empty", text: "www IN APL\n"},
	{name: "APL", text: "www IN APL 1:192.0.2.0/24 !2:2001:db8::/32\n"},
	{name: "IPSECKEY followed by another", text: "www IN IPSECKEY 10 1 2 192.0.2.38 AQNRU3mG7TVTO2BkR47usntb102uFJtugbo6BSGvgqt4AQ==\nx IN A 192.0.2.2\n"},
	{name: "IPSECKEY with a bad gateway", text: "www IN IPSECKEY 10 1 2 nothing AQNRU3mG7TVTO2BkR47usntb102uFJtugbo6BSGvgqt4AQ==\n"},
	{name: "NSEC", text: "www IN NSEC ns1 A MX TYPE1234\n"},
	{name: "NSEC3PARAM without salt", text: "@ IN NSEC3PARAM 1 0 0 -\n"},
	{name: "CSYNC without types", text: "@ IN CSYNC 1 0\n"},
	{name: "CDS delete", text: "@ IN CDS 0 0 0 00\n"},
	{name: "RRSIG with seconds", text: "www IN RRSIG A 13 2 60 1990000000 1690000000 1 example.com. aGVsbG8gd29ybGQgaGVsbG8gd29ybGQgaGVsbG8gd29ybGQgaGVsbG8gd29ybGQgaGVsbG8gd29ybGQgaGVsbG8g\n", quiet: "RFC 4034 §3.2 has this form; only NSD lacks it"},
	{name: "EUI48", text: "www IN EUI48 00-00-5e-00-53-2a\n"},
	{name: "EUI48 malformed", text: "www IN EUI48 00:00:5e:00:53:2a\n"},
	{name: "L32", text: "www IN L32 10 10.1.2.0\n"},
	{name: "NID", text: "www IN NID 10 0014:4fff:ff20:ee64\n"},
	{name: "L64 short groups", text: "www IN L64 10 2001:db8:1140:1000\n"},
	{name: "CERT by name", text: "www IN CERT PKIX 0 RSASHA256 aGVsbG8gd29ybGQ=\n"},
	{name: "URI", text: "www IN URI 10 1 \"https://example.com/\"\n"},
	{name: "SPF", text: "www IN SPF \"v=spf1 -all\"\n"},
	{name: "comment at once after the data", text: "www IN A 192.0.2.2;comment\n"},
	{name: "comment inside parentheses", text: "www IN TXT ( ; one\n a ; two\n b ) ; three\n"},
	{name: "tabs and blanks", text: "www\t \tIN  \t A\t\t192.0.2.2 \t \n"},
	{name: "owner with a trailing comment only", text: "www ; IN A 192.0.2.2\n"},
	{name: "indented owner", text: "  www IN A 192.0.2.2\n", refuse: otherwise},
	{name: "wildcard A", text: "*.w IN A 192.0.2.2\n"},
	{name: "wildcard CNAME", text: "*.w IN CNAME ns1\n"},
	{name: "name of many labels", text: strings.Repeat("a.", 120) + "b IN TXT x\n"},
	{name: "MX target too long", text: "www IN MX 10 " + strings.Repeat(strings.Repeat("a", 60)+".", 4) + "x\n"},
	{name: "SRV port 65536", text: "_x._tcp IN SRV 0 0 65536 ns1\n", refuse: otherwise},
	{name: "negative preference", text: "www IN MX -1 ns1\n", refuse: otherwise},
	{name: "NS at a name with CNAME", text: "sub IN CNAME ns1\nsub IN NS ns1\n"},
	{name: "DS beside CNAME", text: "sub IN CNAME ns1\nsub IN DS 1 8 2 E2D3C916F6DEEAC73294E8268FB5885044A833FC5459588F4A9184CFC41A5766\n"},
	{name: "RRSIG beside CNAME", text: "sub IN CNAME ns1\nsub IN RRSIG CNAME 13 3 60 20330101000000 20230101000000 1 example.com. aGVsbG8gd29ybGQgaGVsbG8gd29ybGQgaGVsbG8gd29ybGQgaGVsbG8gd29ybGQgaGVsbG8gd29ybGQgaGVsbG8g\n"},
	{name: "SVCB no-default-alpn alone", text: "www IN SVCB 1 ns1 no-default-alpn\n"},
	{name: "SVCB mandatory names itself", text: "www IN SVCB 1 ns1 mandatory=mandatory\n"},
	{name: "SVCB mandatory twice", text: "www IN SVCB 1 ns1 mandatory=alpn,alpn alpn=h2\n"},
	{name: "SOA eight fields", whole: true, text: "$TTL 60\n@ IN SOA a b 1 2 3 4 5 6\n@ IN NS ns1.example.net.\n"},
	{name: "SOA with units", whole: true, text: "$TTL 60\n@ IN SOA a b 1 2h 3m 4w 5d\n@ IN NS ns1.example.net.\n"},
	{name: "SOA with a word for a number", whole: true, text: "$TTL 60\n@ IN SOA a b 1 2 3 4 www\n@ IN NS ns1.example.net.\n", refuse: otherwise},
	{name: "SOA over lines with comments", whole: true, text: "$TTL 60\n@ IN SOA a b ( 1 ; serial\n 2 ; refresh\n 3 ; retry \"\n 4 ; (\n 5 ) ; minimum\n@ IN NS ns1.example.net.\n"},
	{name: "owner alone", text: "www\n"},
	{name: "owner and class alone", text: "www IN\n"},
	{name: "owner and TTL alone", text: "www 60\n"},
}

// zoneCheckers are the peers' own tools, and the lines that are no warnings.
var zoneCheckers = []struct {
	name  string
	args  func(file string) []string
	usual *regexp.Regexp
}{
	{
		"named-checkzone", func(f string) []string { return []string{"-i", "local", "example.com.", f} },
		regexp.MustCompile(`^(OK|zone example.com/IN: loaded serial \d+)?$`),
	},
	{
		"kzonecheck", func(f string) []string { return []string{"-o", "example.com.", f} },
		regexp.MustCompile(`^$`),
	},
	{
		"nsd-checkzone", func(f string) []string { return []string{"example.com.", f} },
		regexp.MustCompile(`^(zone example.com. is ok)?$`),
	},
}

// verdict is what a checker says of a file.
type verdict uint8

const (
	loads verdict = iota
	warns
	refuses
)

func (v verdict) String() string { return [...]string{"loads", "warns", "refuses"}[v] }

// ask runs a peer's checker. One that is missing fails the test.
func ask(t *testing.T, tool string, usual *regexp.Regexp, dir string, args ...string) (verdict, string) {
	t.Helper()
	path, err := exec.LookPath(tool)
	if err != nil {
		if path, err = exec.LookPath("/usr/sbin/" + tool); err != nil {
			t.Fatalf("the test needs %s (Debian: bind9-utils, knot-dnssecutils, nsd): %v", tool, err)
		}
	}
	cmd := exec.Command(path, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	said := strings.TrimSpace(string(out))
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return refuses, said
	case err != nil:
		t.Fatalf("run %s: %v", tool, err)
	}
	for line := range strings.SplitSeq(said, "\n") {
		if !usual.MatchString(line) {
			return warns, said
		}
	}
	return loads, said
}

// TestZoneVerdictsOfPeers: what named, knotd and nsd all refuse is refused;
// what one of them loads is loaded, with a warning where another refuses or
// warns, save where a case says why not.
func TestZoneVerdictsOfPeers(t *testing.T) {
	for _, tc := range zoneCases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			file := filepath.Join(dir, "zone")
			text := tc.text
			if !tc.whole {
				text = zoneHead + text
			}
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			var all strings.Builder
			count := [3]int{}
			for _, c := range zoneCheckers {
				v, said := ask(t, c.name, c.usual, dir, c.args(file)...)
				count[v]++
				fmt.Fprintf(&all, "%s %v:\n%s\n", c.name, v, said)
			}
			_, warnings, err := zones.ParseFile("example.com.", file, zones.Options{})
			fmt.Fprintf(&all, "pharos: error %v, warnings %v", err, warnings)

			everyone := count[refuses] == len(zoneCheckers)
			switch {
			case everyone && err == nil:
				t.Errorf("loads what all peers refuse\n%s", &all)
			case !everyone && err != nil && tc.refuse == "":
				t.Errorf("refuses what a peer loads\n%s", &all)
			case tc.refuse != "" && (err == nil || everyone):
				t.Errorf("the reason %q is out of place\n%s", tc.refuse, &all)
			case err == nil && count[loads] < len(zoneCheckers) && len(warnings) == 0 && tc.quiet == "":
				t.Errorf("does not warn where a peer has a reason to\n%s", &all)
			case tc.quiet != "" && len(warnings) > 0:
				t.Errorf("the reason %q is out of place\n%s", tc.quiet, &all)
			}
			if err != nil {
				checkPlaces(t, err, file, text)
			}
		})
	}
}

// checkPlaces wants every error to name the file, and a line where it has one.
func checkPlaces(t *testing.T, err error, file, text string) {
	t.Helper()
	var problems zones.Problems
	if !errors.As(err, &problems) || len(problems) == 0 {
		t.Fatalf("the error is no list of problems: %v", err)
	}
	for _, p := range problems {
		if p.File != file || p.Line < 0 || p.Line > strings.Count(text, "\n")+1 || p.Text == "" {
			t.Errorf("a problem without its place: %+v", p)
		}
		if p.Line == 0 && !strings.HasPrefix(p.Text, "no SOA record") && !strings.HasPrefix(p.Text, "no NS record") {
			t.Errorf("a problem without its line: %+v", p)
		}
	}
}
