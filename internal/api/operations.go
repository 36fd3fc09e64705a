package api

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"reflect"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/scloudstack/pharos/policy"
)

const (
	maxBody     = 64 << 10         // no request comes near it
	bodyTimeout = 5 * time.Second  // to read a request's body
	opTimeout   = 50 * time.Second // to carry an operation out, within the server's own limit
)

// roleKey is where an operation says which role it needs.
const roleKey = "x-pharos-role"

// handlers carries out the operations of one Backend.
type handlers struct{ b Backend }

// newAPI registers every operation on the mux and returns the description.
func newAPI(mux *http.ServeMux, b Backend) huma.API {
	config := huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title:       "Pharos node",
				Version:     b.Version().Version,
				Description: "What a node decides and why, and the orders that people give it. The author of an order is who the connection belongs to: the user behind the Unix socket, the client certificate or the bearer token.",
				License:     &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"},
			},
			Components: &huma.Components{
				Schemas: huma.NewMapRegistry("#/components/schemas/", schemaName),
				SecuritySchemes: map[string]*huma.SecurityScheme{
					"token":       {Type: "http", Scheme: "bearer", Description: "a line of the tokens file"},
					"certificate": {Type: "mutualTLS", Description: "a client certificate; its common name is looked up in api.clients"},
				},
			},
			Security: []map[string][]string{{"token": {}}, {"certificate": {}}},
		},
		OpenAPIPath:                  "/openapi",
		Formats:                      huma.DefaultFormats,
		DefaultFormat:                "application/json",
		RejectUnknownQueryParameters: true,
	}
	api := humago.New(mux, config)
	api.UseMiddleware(authorize(api))
	h := handlers{b}
	h.registerReads(api)
	h.registerOrders(api)
	h.registerZones(api)
	h.registerCluster(api)
	describeErrors(api)
	return api
}

// schemaName keeps types of the same name in two packages apart.
func schemaName(t reflect.Type, hint string) string {
	name := huma.DefaultSchemaNamer(t, hint)
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if strings.HasSuffix(t.PkgPath(), "/policy") {
		return "Policy" + name
	}
	return name
}

// operation fills in what all operations have in common.
func operation(role Role, method, path, id, summary, text string, errs ...int) huma.Operation {
	return huma.Operation{
		OperationID: id, Method: method, Path: path, Summary: summary,
		Description:     text + " Needs the role " + role.String() + ".",
		Extensions:      map[string]any{roleKey: role.String()},
		Metadata:        map[string]any{roleKey: role},
		Errors:          append([]int{http.StatusUnauthorized, http.StatusForbidden, http.StatusServiceUnavailable}, errs...),
		MaxBodyBytes:    maxBody,
		BodyReadTimeout: bodyTimeout,
	}
}

// authorize lets a caller through who may do what the operation does.
func authorize(api huma.API) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		op := ctx.Operation()
		need, _ := op.Metadata[roleKey].(Role)
		caller, err := callerOf(ctx.Context())
		if err == nil {
			err = caller.may(need, op.OperationID)
		}
		if err != nil {
			_, w := humago.Unwrap(ctx)
			writeError(w, err)
			return
		}
		limited, cancel := context.WithTimeout(ctx.Context(), opTimeout)
		defer cancel()
		next(huma.WithContext(ctx, limited))
	}
}

// describeErrors gives every error the body that it really has.
func describeErrors(api huma.API) {
	spec := api.OpenAPI()
	schema := spec.Components.Schemas.Schema(reflect.TypeFor[Error](), true, "Error")
	for _, path := range spec.Paths {
		for _, op := range []*huma.Operation{path.Get, path.Post} {
			if op == nil {
				continue
			}
			for code, r := range op.Responses {
				if strings.HasPrefix(code, "4") || strings.HasPrefix(code, "5") {
					r.Content = map[string]*huma.MediaType{"application/problem+json": {Schema: schema}}
				}
			}
		}
	}
}

// body is an answer whose JSON is T.
type body[T any] struct{ Body T }

// reply is a Backend's result as huma wants it.
func reply[T any](v T, err error) (*body[T], error) {
	if err != nil {
		return nil, fault(err)
	}
	return &body[T]{v}, nil
}

func (h handlers) registerReads(api huma.API) {
	huma.Register(api, operation(Read, http.MethodGet, "/v1/version", "version",
		"What is running", "Release, commit and platform of the node."),
		func(context.Context, *struct{}) (*body[Version], error) { return reply(h.b.Version(), nil) })

	huma.Register(api, operation(Read, http.MethodGet, "/v1/status", "status",
		"The node at a glance", "Alarms, sites, services, endpoints with their health, standing orders, zones."),
		func(ctx context.Context, _ *struct{}) (*body[Status], error) { return reply(h.b.Status(ctx)) })

	huma.Register(api, operation(Read, http.MethodGet, "/v1/alarms", "alarms",
		"What a person should know", "All standing alarms, the oldest first."),
		func(ctx context.Context, _ *struct{}) (*body[[]policy.AlarmStatus], error) {
			return reply(h.b.Alarms(ctx))
		})

	type explainInput struct {
		Name   string `query:"name" required:"true" minLength:"1" maxLength:"255" doc:"a steered name" example:"www.shop.example"`
		Client string `query:"client" maxLength:"45" doc:"address to be answered as; none: a client of no group" example:"10.1.2.3"`
	}
	huma.Register(api, operation(Read, http.MethodGet, "/v1/explain", "explain",
		"Why a name answers what it answers", "Candidates, their health and the evidence, the rule taken, orders, TTL and revision.", http.StatusNotFound),
		func(ctx context.Context, in *explainInput) (*body[policy.Explanation], error) {
			q := policy.Query{Name: Canonical(in.Name)}
			if in.Client != "" {
				addr, err := netip.ParseAddr(in.Client)
				if err != nil {
					return nil, newError(http.StatusUnprocessableEntity, "client %q is no IP address", in.Client)
				}
				q.Client = addr
			}
			return reply(h.b.Explain(ctx, q))
		})

	type diffInput struct {
		Config string `query:"config" maxLength:"4096" doc:"absolute path of a configuration on the node; none: the node's own file, as it is on the disk now"`
	}
	huma.Register(api, operation(Read, http.MethodGet, "/v1/diff", "diff",
		"Which answers a configuration would change", "Reads a configuration and its zones and compares, changing nothing; one comparison at a time. A path other than the node's own file needs the role admin."),
		func(ctx context.Context, in *diffInput) (*body[DiffResult], error) {
			if err := h.mayReadConfig(ctx, in.Config); err != nil {
				return nil, fault(err)
			}
			return reply(h.b.Diff(ctx, in.Config))
		})
}

// mayReadConfig keeps callers from reading, by way of error messages, files
// that only the node's user can open.
func (h handlers) mayReadConfig(ctx context.Context, path string) error {
	if path == "" {
		return nil
	}
	status, err := h.b.Status(ctx)
	if err != nil || status.Node.Config == path {
		return err
	}
	caller, err := callerOf(ctx)
	if err != nil {
		return err
	}
	return caller.may(Admin, "diff of a file other than "+status.Node.Config)
}

func (h handlers) registerOrders(api huma.API) {
	huma.Register(api, operation(Operate, http.MethodPost, "/v1/orders", "order",
		"Give an order", "Judges an order; stores it on the disk, obeys it, waits for other nodes, and answers with before and after for every name and with who holds it. With dry_run it only judges and shows. A refusal (409) names its rule. break_glass, gates, site-lost, active-metro, rejoin and block need the role approve.",
		http.StatusNotFound, http.StatusConflict),
		func(ctx context.Context, in *body[OrderRequest]) (*body[OrderResult], error) {
			caller, err := callerOf(ctx)
			if err != nil {
				return nil, err
			}
			r := in.Body
			if need := r.needs(); !r.DryRun && need > Operate {
				if err := caller.may(need, "break-glass, gate, site lost, site readmit, failover, cluster rejoin and cluster block"); err != nil {
					return nil, err
				}
			}
			giving, err := r.Giving()
			if err != nil {
				return nil, err
			}
			return reply(h.b.Order(ctx, r.Order(caller.Author), giving))
		})

	huma.Register(api, operation(Admin, http.MethodPost, "/v1/reload", "reload",
		"Load the configuration again", "Whole or not at all: a refusal (422) lists every fault in its place. With confirm, the old one comes back unless it is confirmed in time.",
		http.StatusConflict),
		func(ctx context.Context, in *body[ReloadRequest]) (*body[ReloadResult], error) {
			caller, err := callerOf(ctx)
			if err != nil {
				return nil, err
			}
			if in.Body.Confirm < 0 {
				return nil, newError(422, "confirm %s: expected a time after which to go back, or 0 to keep it", in.Body.Confirm)
			}
			return reply(h.b.Reload(ctx, in.Body, caller.Author))
		})

	huma.Register(api, operation(Admin, http.MethodPost, "/v1/reload/confirm", "reload-confirm",
		"Keep the configuration", "Keeps what was loaded to be confirmed.", http.StatusConflict),
		func(ctx context.Context, _ *struct{}) (*body[ReloadResult], error) {
			caller, err := callerOf(ctx)
			if err != nil {
				return nil, err
			}
			return reply(h.b.Confirm(ctx, caller.Author))
		})
}

// Canonical is a name as zones and services are keyed: lower case, with the
// final dot.
func Canonical(name string) string {
	name = strings.ToLower(name)
	if !strings.HasSuffix(name, ".") {
		name += "."
	}
	return name
}

// checkZone refuses what can be no zone name before it reaches the Backend.
func checkZone(name string) (string, error) {
	if strings.ContainsAny(name, "/\\ \t\x00") {
		return "", fmt.Errorf("zone %q: %w name", name, ErrInvalid)
	}
	return Canonical(name), nil
}
