package api

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/scloudstack/pharos/internal/config"
)

// TestOpenAPI wants every operation described: what it is, which role it
// needs, and each way in which it can be refused, with the body of that.
func TestOpenAPI(t *testing.T) {
	s := serve(t, config.API{}, &recorded{})
	c := NewSocketClient(s.cfg.Socket)
	defer c.Close()
	var doc struct {
		OpenAPI string `json:"openapi"`
		Info    struct{ Title, Version string }
		Paths   map[string]map[string]struct {
			OperationID string `json:"operationId"`
			Summary     string
			Description string
			Role        string `json:"x-pharos-role"`
			Responses   map[string]struct {
				Description string
				Content     map[string]struct {
					Schema struct {
						Ref string `json:"$ref"`
					}
				}
			}
		}
		Components struct{ Schemas map[string]any }
	}
	if err := json.Unmarshal([]byte(fetch(t, c, "/openapi.json")), &doc); err != nil {
		t.Fatal(err)
	}
	if doc.OpenAPI != "3.1.0" || doc.Info.Version != "1.2.3" {
		t.Errorf("head: %s %+v", doc.OpenAPI, doc.Info)
	}
	operations := 0
	for path, methods := range doc.Paths {
		for method, op := range methods {
			operations++
			if op.OperationID == "" || op.Summary == "" || op.Description == "" {
				t.Errorf("%s %s: not described: %+v", method, path, op)
			}
			if _, err := ParseRole(op.Role); err != nil {
				t.Errorf("%s %s: %v", method, path, err)
			}
			if method == "post" && op.Role == "read" && op.OperationID != "audit-verify" { // it only computes
				t.Errorf("%s %s: changes something for the role read", method, path)
			}
			for _, code := range []string{"401", "403", "500", "503"} {
				r, ok := op.Responses[code]
				if ref := r.Content["application/problem+json"].Schema.Ref; !ok || !strings.HasSuffix(ref, "/Error") {
					t.Errorf("%s %s: %s is not documented: %+v", method, path, code, r)
				}
			}
		}
	}
	if operations < 20 {
		t.Errorf("%d operations", operations)
	}
	for _, want := range []string{"Error", "Status", "PolicyStatus", "OrderRequest", "ClusterStatus", "AuditPage", "GossipKeys"} {
		if doc.Components.Schemas[want] == nil {
			t.Errorf("no schema %s", want)
		}
	}
	if yaml := fetch(t, c, "/openapi.yaml"); !strings.Contains(yaml, "openapi: 3.1.0") {
		t.Errorf("yaml: %.100s", yaml)
	}
}

func fetch(t *testing.T, c *Client, path string) string {
	t.Helper()
	resp, err := c.do(deadline(t), http.MethodGet, path, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestRolesAreOrdered(t *testing.T) {
	if !slices.IsSorted([]Role{NoRole, Read, Operate, Approve, Admin}) {
		t.Error("roles include those before them")
	}
}
