package zones

import (
	"fmt"

	"github.com/miekg/dns"
)

// canonicalRdata puts the names inside the rdata into lower case, for the types
// of RFC 4034 §6.2 (as corrected by RFC 6840 §5.1). The rdata is well formed.
func canonicalRdata(typ uint16, rdata []byte) {
	skip, names := 0, 1
	switch typ {
	case dns.TypeNS, dns.TypeMD, dns.TypeMF, dns.TypeCNAME, dns.TypeMB, dns.TypeMG, dns.TypeMR,
		dns.TypePTR, dns.TypeDNAME, dns.TypeNXT:
	case dns.TypeSOA, dns.TypeMINFO, dns.TypeRP:
		names = 2
	case dns.TypeMX, dns.TypeAFSDB, dns.TypeRT, dns.TypeKX:
		skip = 2
	case dns.TypePX:
		skip, names = 2, 2
	case dns.TypeSRV:
		skip = 6
	case dns.TypeSIG, dns.TypeRRSIG:
		skip = 18
	case dns.TypeNAPTR:
		skip = 4
		for range 3 { // flags, services, regexp
			if skip >= len(rdata) {
				return
			}
			skip += 1 + int(rdata[skip])
		}
	default:
		return
	}
	end := skip
	for ; names > 0 && end < len(rdata); names-- {
		for end < len(rdata) && rdata[end] != 0 {
			end += 1 + int(rdata[end])
		}
		end++
	}
	if end <= len(rdata) && skip < end {
		lower(rdata[skip:end])
	}
}

// rdataForms is how the data of the usual types is written, for messages.
var rdataForms = map[uint16]string{
	dns.TypeA:      "an IPv4 address",
	dns.TypeAAAA:   "an IPv6 address",
	dns.TypeAFSDB:  "SUBTYPE HOST",
	dns.TypeCAA:    `FLAGS TAG "VALUE"`,
	dns.TypeCDS:    "KEYTAG ALGORITHM DIGESTTYPE DIGEST (hexadecimal)",
	dns.TypeCNAME:  "a domain name",
	dns.TypeDNAME:  "a domain name",
	dns.TypeDNSKEY: "FLAGS PROTOCOL ALGORITHM KEY (base64)",
	dns.TypeDS:     "KEYTAG ALGORITHM DIGESTTYPE DIGEST (hexadecimal)",
	dns.TypeHINFO:  `"CPU" "OS"`,
	dns.TypeHTTPS:  "PRIORITY TARGET [KEY=VALUE ...]",
	dns.TypeLOC:    "D M S N|S D M S E|W ALTITUDE [SIZE [HP [VP]]]",
	dns.TypeMX:     "PREFERENCE HOST",
	dns.TypeNAPTR:  `ORDER PREFERENCE "FLAGS" "SERVICES" "REGEXP" REPLACEMENT`,
	dns.TypeNS:     "a domain name",
	dns.TypeNSEC:   "NEXT-NAME TYPE ...",
	dns.TypeNSEC3:  "ALGORITHM FLAGS ITERATIONS SALT NEXT-HASH TYPE ...",
	dns.TypePTR:    "a domain name",
	dns.TypeRP:     "MAILBOX TXT-NAME",
	dns.TypeRRSIG:  "TYPE ALGORITHM LABELS TTL EXPIRATION INCEPTION KEYTAG SIGNER SIGNATURE (base64)",
	dns.TypeSOA:    "MNAME RNAME SERIAL REFRESH RETRY EXPIRE MINIMUM",
	dns.TypeSRV:    "PRIORITY WEIGHT PORT TARGET",
	dns.TypeSSHFP:  "ALGORITHM TYPE FINGERPRINT (hexadecimal)",
	dns.TypeSVCB:   "PRIORITY TARGET [KEY=VALUE ...]",
	dns.TypeTLSA:   "USAGE SELECTOR MATCHING-TYPE DATA (hexadecimal)",
	dns.TypeTXT:    `one or more "STRINGS" of at most 255 octets`,
	dns.TypeURI:    `PRIORITY WEIGHT "TARGET"`,
}

func rdataForm(typ uint16) string {
	if form, ok := rdataForms[typ]; ok {
		return form
	}
	if _, ok := dns.TypeToRR[typ]; ok {
		return fmt.Sprintf("the data of the type %s", typeText(typ))
	}
	return `\# LENGTH HEX (RFC 3597)`
}
