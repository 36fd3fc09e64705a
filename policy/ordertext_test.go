package policy

import (
	"net/netip"
	"testing"
	"time"
)

func TestOrderText(t *testing.T) {
	at := Stamp{Wall: 10_000, Node: "a"}
	entry := func(kind Kind, key string, value any) Entry {
		return Entry{Kind: kind, Key: key, Stamp: at, Value: encode(value)}
	}
	ended := func(kind Kind, key string) Entry { return Entry{Kind: kind, Key: key, Stamp: at, Deleted: true} }
	expiring := func(e Entry) Entry {
		e.Expires = at.Time().Add(4 * time.Hour)
		return e
	}
	pin := Override{Addresses: []netip.Addr{netip.MustParseAddr("203.0.113.9")}, KeepOther: true, Unlisted: true}
	for want, list := range map[string][]Entry{
		"": nil,
		"override set www.shop.example. site remote ttl 30s": {entry(KindOverride, "name/www.shop.example.", Override{Site: "remote", TTL: 30 * time.Second})},
		"override set service shop site city-b for 4h":       {expiring(entry(KindOverride, "service/shop", Override{Site: "city-b"}))},
		"override set all 203.0.113.9 keep-other unlisted":   {entry(KindOverride, "all", pin)},
		"override clear service shop":                        {ended(KindOverride, "service/shop")},
		"drain site/city-a for 4h":                           {expiring(entry(KindDrain, "site/city-a", nil))},
		"undrain site/city-a":                                {ended(KindDrain, "site/city-a")},
		"site lost city-a, city-b":                           {entry(KindSiteLost, "city-a", nil), entry(KindSiteLost, "city-b", nil)},
		"site readmit city-a":                                {ended(KindSiteLost, "city-a")},
		"failover pay, shop to far":                          {entry(KindActiveMetro, "pay", ActiveMetro{Metro: "far"}), entry(KindActiveMetro, "shop", ActiveMetro{Metro: "far"})},
		"return shop to city-a":                              {entry(KindReturn, "shop", ReturnOrder{To: "city-a"})},
		"gate open freeze":                                   {entry(KindGate, "freeze", Gate{Open: true})},
		"gate close freeze":                                  {entry(KindGate, "freeze", Gate{})},
		"alarm ack all-down/shop":                            {entry(KindAck, "all-down/shop", nil)},
		"alarm ack --clear all-down/shop":                    {ended(KindAck, "all-down/shop")},
		"cluster rejoin edge-a alone":                        {entry(KindRejoin, "edge-a", nil)},
		"cluster block edge-a/city-b for 4h":                 {expiring(entry(KindBlock, "edge-a/city-b", nil))},
		"cluster unblock edge-a/city-b":                      {ended(KindBlock, "edge-a/city-b")},
		"cluster keys use 3f9a":                              {entry(KindGossipKeys, "use/3f9a", nil)},
		"cluster keys add":                                   {entry(KindGossipKeys, "add", nil)},
	} {
		if got := OrderText(list); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
