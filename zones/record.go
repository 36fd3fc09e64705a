package zones

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

// record is one resource record. Its slices are only valid until the next.
type record struct {
	owner []byte // canonical wire form
	typ   uint16
	ttl   uint32 // noTTL: the file gives none
	rdata []byte // canonical wire form
	odd   string // what to warn of
}

// noTTL stands for a TTL that a file leaves out before it has given any. TTLs
// end at maxTTL.
const noTTL = 1<<32 - 1

// recordParser turns entries into records by miekg's parser, which reads them
// one by one from feed. After an error, where that parser stays stuck, the
// next entry gets a new one that is told owner, origin and default TTL again.
type recordParser struct {
	zp     *dns.ZoneParser
	feed   feed
	origin string
	ttl    uint32 // of $TTL; noTTL: not given
	owner  string // of the last record; "" before the first
	last   uint32 // the last TTL that a record gave; noTTL: none did
	stuck  bool
	lead   []byte // directives to be read before the next entry
	buf    []byte // a record in wire form
	flat   []byte // an entry put on one line

	inherited bool // the last record had its TTL from one before
}

// newRecordParser makes a parser; buf has room for the largest record.
func newRecordParser(origin string, ttl uint32, buf []byte) *recordParser {
	return &recordParser{origin: origin, ttl: ttl, last: noTTL, stuck: true, buf: buf}
}

func (p *recordParser) setOrigin(name string) {
	p.origin = name
	p.lead = fmt.Appendf(p.lead, "$ORIGIN %s\n", name)
}

func (p *recordParser) setTTL(ttl uint32) {
	p.ttl = ttl
	p.lead = fmt.Appendf(p.lead, "$TTL %d\n", ttl)
}

func (p *recordParser) setOwner(name string) {
	p.owner = name
	p.stuck = true
}

// feed is what miekg's parser reads: lead, then the entry.
type feed struct {
	lead, text []byte
	ended      bool // was asked for more
}

func (f *feed) ReadByte() (c byte, err error) {
	switch {
	case len(f.lead) > 0:
		c, f.lead = f.lead[0], f.lead[1:]
	case len(f.text) > 0:
		c, f.text = f.text[0], f.text[1:]
	default:
		f.ended = true
		return 0, io.EOF
	}
	return c, nil
}

// Read is never used, since there is ReadByte.
func (f *feed) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// entryError is what is wrong in an entry, lines counted from its first.
type entryError struct {
	line int
	text string
}

// parse reads the one record in an entry.
func (p *recordParser) parse(e entry) (record, *entryError) {
	text := e.text
	if e.look.grouped {
		p.flat = flatten(p.flat[:0], text)
		text = p.flat
	}
	h := readHead(text)
	if err := h.refuse(text); err != nil {
		return record{}, err
	}
	p.inherited = !h.hasTTL && p.ttl == noTTL && p.last != noTTL
	if p.stuck {
		p.restart(text)
	}
	var odd string
	if h.typ != 0 && !isAddress(h.typ) {
		mended, what, err := mend(h.typ, text[h.end:])
		if err != nil {
			return record{}, &entryError{text: fmt.Sprintf("%s record: %v", typeText(h.typ), err)}
		}
		if odd = what; mended != "" {
			text = append(text[:h.end:h.end], mended...)
		}
	}
	p.feed = feed{lead: p.lead, text: text}
	rr, ok := p.zp.Next()
	p.lead = p.lead[:0]
	if !ok {
		p.stuck = true
		if err := p.zp.Err(); err != nil {
			return record{}, explain(err, e.text, h.typ)
		}
		return record{}, &entryError{text: "expected a record: NAME [TTL] [CLASS] TYPE DATA"}
	}
	p.owner = rr.Header().Name
	p.stuck = p.feed.ended // some types' parsers look beyond the newline
	if len(p.feed.text) > 0 {
		p.stuck = true
		return record{}, &entryError{text: "expected one record on a line"}
	}
	rec, err := p.pack(rr, text)
	if err != nil {
		return record{}, &entryError{text: fmt.Sprintf("%s record of %s: %v", typeText(rr.Header().Rrtype), p.owner, err)}
	}
	switch {
	case !h.hasTTL && p.ttl == noTTL:
		rec.ttl = p.last
	case rec.ttl > maxTTL:
		odd = fmt.Sprintf("TTL %d is above %d: it counts as 0 (RFC 2181 §8)", rec.ttl, maxTTL)
		rec.ttl = 0
	}
	if h.hasTTL {
		p.last = rec.ttl
	}
	if odd != "" {
		rec.odd = odd
	}
	return rec, nil
}

// refuse says what is wrong with the head, where miekg's parser would not.
func (h head) refuse(text []byte) *entryError {
	switch {
	case h.bad != "":
		return &entryError{text: fmt.Sprintf("found %s: expected a TTL of at most %d, a class or a record type", describe(h.bad), maxTTL)}
	case h.alone:
		return &entryError{text: fmt.Sprintf("found %s alone: expected NAME [TTL] [CLASS] TYPE DATA", describe(string(bytes.TrimSpace(text))))}
	case h.typ == 0: // the parser finds words for it
		return nil
	case isMeta(h.typ):
		return &entryError{text: typeText(h.typ) + " record: expected a type that a zone can hold"}
	case h.typ != dns.TypeAPL && !hasData(text[h.end:]): // the parser would make it a dynamic update
		return &entryError{text: fmt.Sprintf("%s record without data: expected %s", typeText(h.typ), rdataForm(h.typ))}
	}
	return nil
}

// hasData says whether there is more than blanks and a comment.
func hasData(text []byte) bool {
	text = bytes.TrimLeft(text, " \t\r\n")
	return len(text) > 0 && text[0] != ';'
}

// restart makes a new parser in the state of the old one.
func (p *recordParser) restart(text []byte) {
	p.stuck = false
	p.zp = dns.NewZoneParser(&p.feed, p.origin, "")
	p.zp.SetDefaultTTL(noTTL)
	p.lead = p.lead[:0]
	if p.ttl != noTTL {
		p.setTTL(p.ttl)
	}
	if isBlank(text[0]) {
		p.lead = append(p.lead, p.owner...)
	}
}

// pack turns a record into canonical wire form. text is its entry.
func (p *recordParser) pack(rr dns.RR, text []byte) (record, error) {
	h := rr.Header()
	switch {
	case h.Class != dns.ClassINET:
		return record{}, fmt.Errorf("class %s: expected IN", dns.Class(h.Class))
	case isMeta(h.Rrtype):
		return record{}, errors.New("expected a type that a zone can hold")
	}
	n, err := dns.PackRR(rr, p.buf, 0, nil, false)
	if err != nil {
		return record{}, fmt.Errorf("data that can't be encoded (%s): expected %s",
			strings.TrimPrefix(err.Error(), "dns: "), rdataForm(h.Rrtype))
	}
	end := 0
	for p.buf[end] != 0 {
		end += 1 + int(p.buf[end])
	}
	end++
	rec := record{owner: p.buf[:end:end], typ: h.Rrtype, ttl: h.Ttl, rdata: p.buf[end+10 : n : n]}
	if err := checkLength(rec, text); err != nil {
		return record{}, err
	}
	if len(rec.owner) > maxName {
		return record{}, fmt.Errorf("the owner's name has %d octets: expected at most %d", len(rec.owner), maxName)
	}
	if err := p.checkWire(rec, n); err != nil {
		return record{}, fmt.Errorf("data that can't be encoded (%s): expected %s",
			strings.TrimPrefix(err.Error(), "dns: "), rdataForm(h.Rrtype))
	}
	if len(rec.rdata) > maxName && rec.typ == dns.TypeTXT && countStrings(rec.rdata) > countData(fields(text)) {
		rec.odd = "a string longer than 255 octets is split, which named and NSD refuse"
	}
	if rec.typ == dns.TypeSVCB || rec.typ == dns.TypeHTTPS {
		if rec.odd, err = checkSvcParams(rec.rdata); err != nil {
			return record{}, err
		}
	}
	lower(rec.owner)
	canonicalRdata(rec.typ, rec.rdata)
	return rec, nil
}

// checkWire wants the record of n octets in p.buf to be read and written again
// as the same. Packing minds neither names that are too long nor lengths that
// the data of some types does not have.
func (p *recordParser) checkWire(rec record, n int) error {
	if (plain[rec.typ] || isAddress(rec.typ) || rec.typ == dns.TypeTXT) && len(rec.rdata) <= maxName {
		return nil // too short for a name that is too long
	}
	rr, end, err := dns.UnpackRR(p.buf[:n], 0)
	if err != nil {
		return err
	}
	again := make([]byte, n+maxName)
	m, err := dns.PackRR(rr, again, 0, nil, false)
	if err != nil {
		return err
	}
	if end != n || !bytes.Equal(again[:m], p.buf[:n]) {
		return errors.New("it is read back as something else")
	}
	return nil
}

// checkLength compares the length of the rdata with what RFC 3597 §5 notation
// said: where a known type is written so, miekg's parser drops what is too much.
func checkLength(rec record, text []byte) error {
	said := -1
	if bytes.Contains(text, []byte(`\#`)) {
		words := fields(text)
		for i, w := range words[:len(words)-1] {
			if w == `\#` {
				said, _ = strconv.Atoi(words[i+1])
				break
			}
		}
	}
	_, known := dns.TypeToRR[rec.typ]
	switch {
	case said >= 0 && said != len(rec.rdata):
		return fmt.Errorf(`\# with %d octets, of which %d were understood: expected %s`, said, len(rec.rdata), rdataForm(rec.typ))
	case len(rec.rdata) == 0 && known && rec.typ != dns.TypeAPL && rec.typ != dns.TypeNULL:
		return fmt.Errorf("no data: expected %s", rdataForm(rec.typ))
	}
	return nil
}

// countStrings counts the character strings of a TXT record.
func countStrings(rdata []byte) (n int) {
	for ; len(rdata) > 0; n++ {
		rdata = rdata[min(1+int(rdata[0]), len(rdata)):]
	}
	return n
}

// countData counts the words after TXT.
func countData(words []string) int {
	for i, w := range words {
		if i > 0 && strings.EqualFold(w, "TXT") || strings.EqualFold(w, "TYPE16") {
			return len(words) - i - 1
		}
	}
	return len(words)
}

// isMeta says whether a type is none of a zone's data (RFC 6895 §3.1).
func isMeta(typ uint16) bool {
	return typ == 0 || typ == dns.TypeOPT || typ >= 128 && typ <= 255
}

func typeText(typ uint16) string {
	if typ == 0 {
		return "TYPE0"
	}
	return dns.Type(typ).String()
}

// explain puts an error of miekg's parser, which reads
//
//	dns: MESSAGE: "TOKEN" at line: LINE:COLUMN
//
// into words of found and expected. typ is the record's, where it has one.
func explain(err error, text []byte, typ uint16) *entryError {
	e := &entryError{}
	msg := strings.TrimPrefix(err.Error(), "dns: ")
	if i := strings.LastIndex(msg, " at line: "); i >= 0 {
		msg = msg[:i]
	}
	what, found := msg, ""
	if i := strings.Index(msg, `: "`); i >= 0 {
		if token, err := strconv.Unquote(msg[i+2:]); err == nil {
			what, found = msg[:i], token
		}
	}
	e.line = lineOf(found, text)
	if isClass([]byte(found)) {
		e.text = fmt.Sprintf("found the end of the line after %s: expected a record type", found)
		return e
	}
	found = describe(found)
	switch {
	case what == "unknown RR type", strings.Contains(what, "expecting RR type"):
		e.text = fmt.Sprintf("found %s: expected a record type (A, MX, TYPE65280 ...)", found)
	case what == "not a TTL":
		e.text = fmt.Sprintf("found %s: expected a TTL, a class or a record type", found)
	case what == "bad owner name":
		e.text = fmt.Sprintf("found %s: expected a domain name", found)
	case what == "garbage after rdata":
		e.text = fmt.Sprintf("found %s after the record's data: expected the end of the line", found)
	default:
		switch {
		case typ == 0 || strings.HasPrefix(what, "no blank"):
			e.text = fmt.Sprintf("found %s: expected NAME [TTL] [CLASS] TYPE DATA", found)
		case strings.Contains(what, "dns: "): // RFC 3597 notation of a known type
			e.text = fmt.Sprintf("%s record in RFC 3597 notation that is not its data: expected %s", typeText(typ), rdataForm(typ))
		default:
			e.text = fmt.Sprintf("%s record with %s: expected %s", typeText(typ), found, rdataForm(typ))
		}
	}
	return e
}

// lineOf finds the line that a word stands in, counted from the entry's first.
func lineOf(word string, text []byte) int {
	if i := bytes.Index(text, []byte(word)); i > 0 && strings.TrimSpace(word) != "" {
		return bytes.Count(text[:i], []byte{'\n'})
	}
	return 0
}

// describe shows a token to people.
func describe(token string) string {
	switch token {
	case "", "\n":
		return "the end of the line"
	case " ":
		return "a blank"
	}
	if len(token) > 80 {
		token = token[:80] + "..."
	}
	return strconv.Quote(token)
}
