package zones

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const start3 = "$TTL 60\n@ SOA ns host 1 2 3 4 5\n@ NS ns\nns A 192.0.2.1\n"

// TestErrors shows what people read; "z:N: " stands before each line.
func TestErrors(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{"", "no SOA record: expected one at z.example.\nno NS record at z.example.: expected at least one"},
		{"$TTL 60\n@ SOA ns host 1 2 3 4 5\n", "no NS record at z.example.: expected at least one"},
		{start3 + "www A 192.0.2.256\n", `5: A record with "192.0.2.256": expected an IPv4 address`},
		{start3 + "www A\n", "5: A record without data: expected an IPv4 address"},
		{start3 + "www AAAA 192.0.2.2\n", `5: AAAA record with "192.0.2.2": expected an IPv6 address`},
		{start3 + "www A 192.0.2.2 x\n", `5: found "x" after the record's data: expected the end of the line`},
		{start3 + "www MX mail\n", `5: MX record with "mail": expected PREFERENCE HOST`},
		{start3 + "www AA 192.0.2.2\n", `5: found "AA": expected a TTL, a class or a record type`},
		{start3 + "www IN AA 192.0.2.2\n", `5: found "AA": expected a TTL, a class or a record type`},
		{start3 + "www\n", `5: found "www" alone: expected NAME [TTL] [CLASS] TYPE DATA`},
		{start3 + "www IN\n", "5: found the end of the line after IN: expected a record type"},
		{start3 + "www CH TXT x\n", "5: TXT record of www.z.example.: class CH: expected IN"},
		{start3 + "www 5000000000 A 192.0.2.2\n", `5: found "5000000000": expected a TTL of at most 2147483647, a class or a record type`},
		{start3 + "  www A 192.0.2.2\n", `5: found "www": expected a TTL of at most 2147483647, a class or a record type`},
		{start3 + "a..b A 192.0.2.2\n", `5: found "a..b": expected a domain name`},
		{start3 + "www TXT\n", `5: TXT record without data: expected one or more "STRINGS" of at most 255 octets`},
		{start3 + "www TXT \"a\n", `5: a quoted string is not closed: expected '"' before the end of the line`},
		{start3 + "www TXT ( a\n\n\n", `5: "(" is not closed: expected ")" before the end of the file`},
		{start3 + "www TXT a )\n", `5: ")" closes nothing: expected "(" before it`},
		{start3 + "www TXT \\300\n", `5: found a backslash before a digit: expected three digits, at most \255`},
		{start3 + "www TYPE65280 x\n", `5: TYPE65280 record with "x": expected \# LENGTH HEX (RFC 3597)`},
		{start3 + "www A \\# 5 C000020201\n", `5: A record of www.z.example.: \# with 5 octets, of which 4 were understood: expected an IPv4 address`},
		{start3 + "www A \\# 2 C000\n", `5: A record in RFC 3597 notation that is not its data: expected an IPv4 address`},
		{start3 + "www HINFO x\n", `5: HINFO record: found 1 fields: expected "CPU" "OS"`},
		{start3 + "www OPT x\n", `5: OPT record: expected a type that a zone can hold`},
		{start3 + "www CNAME a\nwww TXT b\n", "5: CNAME record of www.z.example., which has TXT records (line 6): expected no other data beside a CNAME (RFC 1034 §3.6.2)"},
		{start3 + "www CNAME a\nwww CNAME b\n", "6: another CNAME record of www.z.example.: expected one"},
		{start3 + "@ SOA ns host 2 2 3 4 5\n", "5: another SOA record of z.example.: expected one"},
		{start3 + "sub SOA ns host 2 2 3 4 5\n", "5: SOA record of sub.z.example.: expected it at z.example. only"},
		{start3 + "@ DNAME example.\n", "3: NS record of z.example. with ns.z.example., which is below the DNAME record of z.example.: expected a name with addresses"},
		{start3 + "$FOO x\n", "5: unknown directive $FOO: expected $ORIGIN, $TTL, $INCLUDE or $GENERATE"},
		{start3 + "$TTL x\n", `5: $TTL "x": expected seconds, or numbers with the units w, d, h, m, s, at most 2147483647`},
		{start3 + "$ORIGIN a b\n", "5: $ORIGIN with 2 arguments: expected one domain name"},
		{start3 + "$INCLUDE /etc/passwd\n", "5: $INCLUDE is not possible here: the zone is not read from a file"},
		{start3 + "$GENERATE 1-70000 h$ A 192.0.2.1\n", `5: $GENERATE "1-70000": makes 70000 records: expected at most 65536`},
		{start3 + "$GENERATE 1-2 h$ A 192.0.2.${1,2,3}\n", "5: $GENERATE: ${1,2,3}: expected ${OFFSET[,WIDTH[,BASE]]}, the width at most 255, the base one of d, o, x, X, n, N"},
		{start3 + "$GENERATE 250-260 h$ A 192.0.2.$\n", strings.Repeat(`5: A record with "192.0.2.256": expected an IPv4 address`, 1) + "\n" +
			"5: A record with \"192.0.2.257\": expected an IPv4 address\n5: A record with \"192.0.2.258\": expected an IPv4 address\n" +
			"5: A record with \"192.0.2.259\": expected an IPv4 address\n5: A record with \"192.0.2.260\": expected an IPv4 address"},
		{
			// Every error at once, and none that only follows from another.
			start3 + "a A x\nb A 192.0.2.2\nc MX (\n 10 ; ten\n m..m )\n\td A y\n$TTL z\ne CNAME f\ne A 192.0.2.3\n",
			`5: A record with "x": expected an IPv4 address` + "\n" +
				`9: MX record with "m..m": expected PREFERENCE HOST` + "\n" +
				`10: found "d": expected a TTL of at most 2147483647, a class or a record type` + "\n" +
				`11: $TTL "z": expected seconds, or numbers with the units w, d, h, m, s, at most 2147483647` + "\n" +
				"12: CNAME record of e.z.example., which has A records (line 13): expected no other data beside a CNAME (RFC 1034 §3.6.2)",
		},
	} {
		_, _, err := Parse("z.example.", strings.NewReader(tc.text), "z", Options{})
		var want Problems
		for line := range strings.SplitSeq(tc.want, "\n") {
			p := Problem{File: "z", Text: line}
			if n, rest, ok := strings.Cut(line, ": "); ok && n[0] <= '9' {
				fmt.Sscan(n, &p.Line)
				p.Text = rest
			}
			want = append(want, p)
		}
		var got Problems
		if !errors.As(err, &got) {
			t.Errorf("%q: error %v", tc.text, err)
		} else if d := cmp.Diff(want.Error(), got.Error()); d != "" {
			t.Errorf("%q: (-want +got)\n%s", tc.text, d)
		}
	}
}

func TestErrorsAreBounded(t *testing.T) {
	_, _, err := Parse("z.example.", strings.NewReader(start3+strings.Repeat("x A y\n", 1000)), "z", Options{})
	var ps Problems
	if !errors.As(err, &ps) || len(ps) != maxProblems {
		t.Errorf("%d problems", len(ps))
	}
	_, warnings, err := Parse("z.example.", strings.NewReader(start3+strings.Repeat("x A 192.0.2.2\n", 1000)), "z", Options{})
	if err != nil || len(warnings) != maxProblems+1 || warnings[maxProblems].Text != "and more: only the first 50 are shown" {
		t.Errorf("%d warnings, error %v", len(warnings), err)
	}
}

// A set that no message holds is told of; one that fits is not.
func TestTooManyForAnAnswer(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{"$GENERATE 0-3999 big AAAA 2001:db8::${0,1,x}\n", "z:5: 4000 AAAA records of big.z.example., which take up to 112000 octets of an answer: " +
			"one holds 64511, and what does not fit is answered with no record (TC), over TCP too"},
		{"$GENERATE 0-2299 big AAAA 2001:db8::${0,1,x}\n", ""},
	} {
		_, warnings, err := Parse("z.example.", strings.NewReader(start3+tc.text), "z", Options{})
		var got string
		if len(warnings) > 0 {
			got = warnings[0].String()
		}
		if err != nil || got != tc.want {
			t.Errorf("%s: got %q, %v, want %q", tc.text, got, err, tc.want)
		}
	}
}

// records gives a zone's records but SOA and NS, as "NAME TTL TYPE DATA".
func records(z *Zone) (lines []string) {
	z.Walk(func(owner []byte, sets []RRset, _ NodeFlags) bool {
		for _, s := range sets {
			for rdata := range s.All() {
				if s.Type != typeSOA && s.Type != typeNS {
					line := strings.ReplaceAll(RecordText(owner, s.Type, s.TTL, rdata), "\tIN\t", "\t")
					lines = append(lines, strings.Join(strings.Fields(line), " "))
				}
			}
		}
		return true
	})
	return lines
}

// TestReading shows what files mean.
func TestReading(t *testing.T) {
	const start = "@ 60 SOA ns.example. host.example. 1 2 3 4 5\n@ 60 NS ns.example.\n"
	for _, tc := range []struct{ name, text, want string }{
		{"owner carried on", "a 60 A 192.0.2.1\n  60 A 192.0.2.2\n\t60 TXT x\n", "a.z. 60 A 192.0.2.1|a.z. 60 A 192.0.2.2|a.z. 60 TXT \"x\""},
		{"owner carried on over a bad class of lines", "a 60 A 192.0.2.1\n; c\n\n 60 A 192.0.2.2 ; d\n", "a.z. 60 A 192.0.2.1|a.z. 60 A 192.0.2.2"},
		{"$TTL, and a TTL of one's own", "$TTL 1h\na A 192.0.2.1\nb 7 A 192.0.2.1\nc A 192.0.2.1\n", "a.z. 3600 A 192.0.2.1|b.z. 7 A 192.0.2.1|c.z. 3600 A 192.0.2.1"},
		{"TTL of the record before", "a 7 A 192.0.2.1\nb A 192.0.2.1\n", "a.z. 7 A 192.0.2.1|b.z. 7 A 192.0.2.1"},
		{"units", "a 1w2d3h4m5s A 192.0.2.1\n", "a.z. 788645 A 192.0.2.1"},
		{"TTL too large", "a 3000000000 A 192.0.2.1\n", "a.z. 0 A 192.0.2.1"},
		{"TTLs that differ", "a 70 A 192.0.2.1\na 60 A 192.0.2.2\na 80 A 192.0.2.2\n", "a.z. 60 A 192.0.2.1|a.z. 60 A 192.0.2.2"},
		{"$ORIGIN", "$ORIGIN b.z.\na 60 CNAME @\n$ORIGIN .\nc.z 60 CNAME d\n", "a.b.z. 60 CNAME b.z.|c.z. 60 CNAME d."},
		{"case", "A.B 60 MX 10 Mail.Z.\n", "a.b.z. 60 MX 10 mail.z."},
		{"case that stays", "a 60 TXT Mixed\n", `a.z. 60 TXT "Mixed"`},
		{"escapes", `a\.b\065\$\@ 60 TXT "q\"\\;\200"` + "\n", `a\.ba$\@.z. 60 TXT "q\"\\;\200"`},
		{"a name like a directive", "\\$TTL 60 A 192.0.2.1\n", `\$ttl.z. 60 A 192.0.2.1`},
		{"a name like a type", "mx 60 A 192.0.2.1\nA 60 A 192.0.2.2\n", "a.z. 60 A 192.0.2.2|mx.z. 60 A 192.0.2.1"},
		{"parentheses and comments", "a ( 60 ; ttl (\n IN ; class \"\n TXT \"x\" ( y\n ) ) ; end\nb 60 A 192.0.2.1\n", `a.z. 60 TXT "x" "y"|b.z. 60 A 192.0.2.1`},
		{"outside", "a.example. 60 A 192.0.2.1\nxz. 60 A 192.0.2.1\nz.z. 60 A 192.0.2.1\n", "z.z. 60 A 192.0.2.1"},
		{"long text", "a 60 TXT " + strings.Repeat("x", 300) + "\n", `a.z. 60 TXT "` + strings.Repeat("x", 255) + `" "` + strings.Repeat("x", 45) + `"`},
		{"algorithm by name", "a 60 DNSKEY 256 3 ED25519 AAAA\n", "a.z. 60 DNSKEY 256 3 15 AAAA"},
		{"after an IPSECKEY", "a 60 IPSECKEY 10 1 2 192.0.2.1 AAAA\n 60 A 192.0.2.1\n", "a.z. 60 A 192.0.2.1|a.z. 60 IPSECKEY 10 1 2 192.0.2.1 AAAA"},
		{"after an IPSECKEY, without a TTL", "a 7 IPSECKEY 10 1 2 192.0.2.1 AAAA\nb A 192.0.2.1\n", "a.z. 7 IPSECKEY 10 1 2 192.0.2.1 AAAA|b.z. 7 A 192.0.2.1"},
		{"a TTL too large, carried on", "a 3000000000 A 192.0.2.1\nb A 192.0.2.1\n", "a.z. 0 A 192.0.2.1|b.z. 0 A 192.0.2.1"},
		{"$GENERATE", "$TTL 9\n$GENERATE 8-12/2 h${-8,3}.$$ CNAME ${1,2,x}.${0,3,n}.z.\n", `h000.$.z. 9 CNAME 09.8.0.z.|h002.$.z. 9 CNAME 0b.a.0.z.|h004.$.z. 9 CNAME 0d.c.0.z.`},
		{"$GENERATE of a PTR", "$GENERATE 1-2 $ 60 IN PTR a\\$$.z.\n", `1.z. 60 PTR a$1.z.|2.z. 60 PTR a$2.z.`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := strings.Join(records(mustParse(t, "z.", start+tc.text)), "|")
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
		})
	}
}

// TestMissingTTL: without any TTL before it a record has the SOA's MINIMUM.
func TestMissingTTL(t *testing.T) {
	z := mustParse(t, "z.", "a A 192.0.2.1\n@ SOA ns.example. host.example. 1 2 3 4 5\n@ NS ns.example.\nb 7 A 192.0.2.1\nc A 192.0.2.1\n")
	want := "a.z. 5 A 192.0.2.1|b.z. 7 A 192.0.2.1|c.z. 7 A 192.0.2.1"
	if got := strings.Join(records(z), "|"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestInclude(t *testing.T) {
	outside := t.TempDir()
	dir := filepath.Join(outside, "zones")
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const start = "$TTL 60\n@ SOA ns.example. host.example. 1 2 3 4 5\n@ NS ns.example.\n"
	write("../secret", "root:x:0:0\n")
	write("sub/hosts", "$TTL 7\na A 192.0.2.1\n$ORIGIN deep.z.\n$INCLUDE more rel\n")
	write("sub/more", "b A 192.0.2.2\n")
	write("bad", "x A y\n\nz A\n")
	if err := os.Symlink("../secret", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("sub/more", filepath.Join(dir, "good-link")); err != nil {
		t.Fatal(err)
	}
	main := filepath.Join(dir, "main")
	load := func(text string) (string, error) {
		t.Helper()
		write("main", start+text)
		z, _, err := ParseFile("z.", main, Options{})
		if err != nil {
			return "", err
		}
		return strings.Join(records(z), "|"), nil
	}
	// Origin, default TTL and owner are the same after it as before it.
	got, err := load("h A 192.0.2.9\n$INCLUDE sub/hosts ; c\n  AAAA ::1\n$INCLUDE \"sub/hosts\" o.z.\n$INCLUDE " + dir + "/good-link\n")
	want := "b.z. 60 A 192.0.2.2|b.rel.deep.z. 7 A 192.0.2.2|h.z. 60 A 192.0.2.9|h.z. 60 AAAA ::1|a.o.z. 7 A 192.0.2.1|a.z. 7 A 192.0.2.1"
	if err != nil || !equalSets(got, want) {
		t.Errorf("got %s, %v\nwant %s", got, err, want)
	}
	for text, want := range map[string]string{
		"$INCLUDE ../secret\n":        "main:4: $INCLUDE \"../secret\": expected a file in or below the zone's folder " + dir,
		"$INCLUDE /etc/passwd\n":      "main:4: $INCLUDE \"/etc/passwd\": expected a file in or below the zone's folder " + dir,
		"$INCLUDE sub/../../secret\n": "main:4: $INCLUDE \"sub/../../secret\": expected a file in or below the zone's folder " + dir,
		"$INCLUDE link\n":             "main:4: $INCLUDE \"link\": the file can't be read: path escapes from parent",
		"$INCLUDE none\n":             "main:4: $INCLUDE \"none\": the file can't be read: no such file or directory",
		"$INCLUDE sub\n":              "main:4: $INCLUDE \"sub\": expected a regular file",
		"$INCLUDE main\n":             "main:4: $INCLUDE nested more than 7 deep",
		"$INCLUDE bad\n":              "bad:1: A record with \"y\": expected an IPv4 address\n" + dir + "/bad:3: A record without data: expected an IPv4 address",
	} {
		if _, err := load(text); err == nil || err.Error() != dir+"/"+want {
			t.Errorf("%q:\ngot  %v\nwant %s", text, err, dir+"/"+want)
		}
	}
	if _, _, err := ParseFile("z.", filepath.Join(dir, "nothere"), Options{}); err == nil || !strings.HasSuffix(err.Error(), "nothere: the zone's file can't be read: no such file or directory") {
		t.Errorf("missing file: %v", err)
	}
	if _, _, err := ParseFile("z.", dir, Options{}); err == nil {
		t.Error("a folder is no zone")
	}
}

func equalSets(a, b string) bool {
	m := map[string]int{}
	for s := range strings.SplitSeq(a, "|") {
		m[s]++
	}
	for s := range strings.SplitSeq(b, "|") {
		m[s]--
	}
	for _, n := range m {
		if n != 0 {
			return false
		}
	}
	return true
}

// TestYield: loading yields, while it reads, sorts and lays out.
func TestYield(t *testing.T) {
	yields := 0
	_, _, err := Parse("big.example.", strings.NewReader(string(bigZone(20_000))), "big", Options{Yield: func() { yields++ }})
	if err != nil || yields == 0 {
		t.Errorf("%d yields, error %v", yields, err)
	}
}
