package node

import (
	"testing"

	"github.com/scloudstack/pharos/policy"
)

// TestAuditNamesAllThatAnOrderIsAbout wants each of several sites in the record of
// the one order that declares them lost.
func TestAuditNamesAllThatAnOrderIsAbout(t *testing.T) {
	o := policy.Order{Kind: policy.KindSiteLost, Key: "city-a", Author: "ann", Reason: "flood"}
	r := orderRecord(o, policy.Preview{Entries: []policy.Entry{{Key: "city-a"}, {Key: "city-b"}}})
	if want := "site-lost city-a, city-b"; r.Subject != want || r.Who != "ann" || r.Why != "flood" {
		t.Errorf("%+v, want %s", r, want)
	}
	if r := orderRecord(o, policy.Preview{}); r.Subject != "site-lost city-a" {
		t.Errorf("%+v", r)
	}
}
