package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/scloudstack/pharos/policy"
)

func (h handlers) registerCluster(api huma.API) {
	huma.Register(api, operation(Read, http.MethodGet, "/v1/cluster", "cluster",
		"The nodes", "Who is heard, votes, is held or differs; the electorate and its majority; conflicts, parked entries, drills."),
		func(ctx context.Context, _ *struct{}) (*body[ClusterStatus], error) {
			return reply(h.b.ClusterStatus(ctx))
		})
	h.registerAudit(api)
	h.registerKeys(api)
}

func (h handlers) registerAudit(api huma.API) {
	type auditInput struct {
		Node  policy.NodeID `query:"node" maxLength:"64" doc:"records of this node, which is configured or has a chain here; none: of all"`
		Kind  string        `query:"kind" maxLength:"64" doc:"records of this kind, a known one; none: of all" example:"order"`
		Since time.Time     `query:"since" doc:"records from this time on"`
		Limit int           `query:"limit" minimum:"1" maximum:"10000" default:"100" doc:"the newest so many"`
	}
	huma.Register(api, operation(Read, http.MethodGet, "/v1/audit", "audit",
		"Who did what", "Orders, changes of answers and of health, the newest first."),
		func(ctx context.Context, in *auditInput) (*body[AuditPage], error) {
			return reply(h.b.Audit(ctx, AuditQuery{Node: in.Node, Kind: in.Kind, Since: in.Since, Limit: in.Limit}))
		})

	huma.Register(api, operation(Read, http.MethodPost, "/v1/audit/verify", "audit-verify",
		"Check the audit", "Computes the hash chain of every node anew. It changes nothing."),
		func(ctx context.Context, _ *struct{}) (*body[AuditVerdict], error) {
			return reply(h.b.VerifyAudit(ctx))
		})
}

func (h handlers) registerKeys(api huma.API) {
	huma.Register(api, operation(Read, http.MethodGet, "/v1/cluster/keys", "cluster-keys",
		"Which node has which gossip key", "Fingerprints only: keys never travel."),
		func(ctx context.Context, _ *struct{}) (*body[GossipKeys], error) { return reply(h.b.GossipKeys(ctx)) })

	huma.Register(api, operation(Admin, http.MethodPost, "/v1/cluster/keys/add", "cluster-keys-add",
		"Take new gossip keys", "Every node reads its keys_file again; the answer compares fingerprints.", http.StatusConflict),
		func(ctx context.Context, _ *struct{}) (*body[GossipKeys], error) {
			caller, err := callerOf(ctx)
			if err != nil {
				return nil, err
			}
			return reply(h.b.AddGossipKeys(ctx, caller.Author))
		})

	h.registerKey(api, "use", "Send with a gossip key", "Every node sends with the key from now on.", h.b.UseGossipKey)
	h.registerKey(api, "remove", "Forget a gossip key", "No node takes the key any more. The key that is sent with can't be removed.", h.b.RemoveGossipKey)
}

func (h handlers) registerKey(api huma.API, verb, summary, text string, act func(ctx context.Context, fingerprint, author string) (GossipKeys, error)) {
	type keyInput struct {
		Body struct {
			Fingerprint string `json:"fingerprint" pattern:"^[0-9a-f]{16}$" doc:"of the key, as listed" example:"3f9a2c1b77d0e1aa"`
		}
	}
	huma.Register(api, operation(Admin, http.MethodPost, "/v1/cluster/keys/"+verb, "cluster-keys-"+verb, summary,
		text+" Refused (409) until every configured node that is not declared lost has confirmed that it has it.", http.StatusNotFound, http.StatusConflict),
		func(ctx context.Context, in *keyInput) (*body[GossipKeys], error) {
			caller, err := callerOf(ctx)
			if err != nil {
				return nil, err
			}
			return reply(act(ctx, in.Body.Fingerprint, caller.Author))
		})
}
