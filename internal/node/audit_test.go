package node

import (
	"errors"
	"strings"
	"testing"

	"github.com/scloudstack/pharos/cluster"
	"github.com/scloudstack/pharos/internal/api"
	"github.com/scloudstack/pharos/internal/config"
)

// TestAuditOfNobody asks for words that are mistyped, and for those of a node that was taken out of the configuration and of
// a release that knew more kinds.
func TestAuditOfNobody(t *testing.T) {
	all := []cluster.Listed{{Chain: "old/1f", Record: cluster.Record{What: "plan"}}}
	nodes := []config.Node{{Name: "edge-b"}, {Name: "edge-a"}}
	for _, tt := range []struct {
		q    api.AuditQuery
		want string // of the error; "": none
	}{
		{api.AuditQuery{}, ""},
		{api.AuditQuery{Kind: "order", Node: "edge-a"}, ""},
		{api.AuditQuery{Kind: "plan", Node: "old"}, ""},
		{api.AuditQuery{Kind: "foo"}, `no kind "foo" in the audit: expected one of alarm, audit chain, audit retention, configuration, `},
		{api.AuditQuery{Kind: "plans"}, "plan, service"},
		{api.AuditQuery{Node: "nope"}, `no node "nope" in the audit: expected one of edge-a, edge-b, old`},
	} {
		err := knownAudit(all, nodes, tt.q)
		if tt.want == "" {
			if err != nil {
				t.Errorf("%+v: %v", tt.q, err)
			}
		} else if !errors.Is(err, api.ErrInvalid) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %q", tt.q, err, tt.want)
		}
	}
}
