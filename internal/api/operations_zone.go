package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

type zoneInput struct {
	Zone string `path:"zone" minLength:"1" maxLength:"255" doc:"the zone's name" example:"shop.example."`
}

func (h handlers) registerZones(api huma.API) {
	huma.Register(api, operation(Read, http.MethodGet, "/v1/zones", "zones",
		"The zones and what is served of each", "Where each zone comes from, its serial, and why its file is not what is served."),
		func(ctx context.Context, _ *struct{}) (*body[[]Zone], error) { return reply(h.b.Zones(ctx)) })

	dump := operation(Read, http.MethodGet, "/v1/zones/{zone}/dump", "zone-dump",
		"A zone as it is served", "A master file, in canonical order.", http.StatusNotFound)
	dump.Responses = map[string]*huma.Response{"200": {
		Description: "The zone's records",
		Content:     map[string]*huma.MediaType{"text/dns": {Schema: &huma.Schema{Type: huma.TypeString}}},
	}}
	huma.Register(api, dump, func(_ context.Context, in *zoneInput) (*huma.StreamResponse, error) {
		name, err := checkZone(in.Zone)
		if err != nil {
			return nil, fault(err)
		}
		return &huma.StreamResponse{Body: func(ctx huma.Context) { h.dump(ctx, name) }}, nil
	})

	huma.Register(api, operation(Read, http.MethodGet, "/v1/zones/{zone}/diff", "zone-diff",
		"What a zone's file would change", "Compares what is served with the file on the disk; one comparison at a time.", http.StatusNotFound),
		func(ctx context.Context, in *zoneInput) (*body[ZoneDiff], error) {
			name, err := checkZone(in.Zone)
			if err != nil {
				return nil, fault(err)
			}
			return reply(h.b.ZoneDiff(ctx, name))
		})

	type reloadInput struct {
		Body struct {
			Zone   string `json:"zone,omitempty" maxLength:"255" doc:"one zone; none: all of them"`
			Accept bool   `json:"accept,omitempty" doc:"take a zone that shrank by more than 20 % or whose serial went back"`
		}
	}
	huma.Register(api, operation(Operate, http.MethodPost, "/v1/zones/reload", "zone-reload",
		"Read zone files again", "Each file is taken whole or refused; what was served before goes on.", http.StatusNotFound, http.StatusConflict),
		func(ctx context.Context, in *reloadInput) (*body[[]Zone], error) {
			caller, err := callerOf(ctx)
			if err != nil {
				return nil, err
			}
			name := ""
			switch {
			case in.Body.Zone == "" && in.Body.Accept:
				return nil, newError(422, "accept: expected with the zone that it is for")
			case in.Body.Zone != "":
				if name, err = checkZone(in.Body.Zone); err != nil {
					return nil, fault(err)
				}
			}
			return reply(h.b.ZoneReload(ctx, name, in.Body.Accept, caller.Author))
		})

	huma.Register(api, operation(Operate, http.MethodPost, "/v1/zones/{zone}/rollback", "zone-rollback",
		"Serve the version before", "Serves the newest kept version that differs from what is served now.", http.StatusNotFound, http.StatusConflict),
		func(ctx context.Context, in *zoneInput) (*body[Zone], error) {
			caller, err := callerOf(ctx)
			if err != nil {
				return nil, err
			}
			name, err := checkZone(in.Zone)
			if err != nil {
				return nil, fault(err)
			}
			return reply(h.b.ZoneRollback(ctx, name, caller.Author))
		})
}

// dump streams a zone of any size to a caller that keeps reading.
func (h handlers) dump(ctx huma.Context, name string) {
	r, w := humago.Unwrap(ctx)
	out := &patient{w: w, control: http.NewResponseController(w)}
	err := h.b.ZoneDump(r.Context(), name, out)
	switch {
	case err == nil && !out.begun:
		out.begin()
	case err != nil && !out.begun:
		writeError(w, fault(err))
	case err != nil:
		// The head is out: only a broken connection can still say that the
		// rest is missing.
		panic(http.ErrAbortHandler)
	}
}

// patient moves the write deadline on with every write, so that it judges a
// stuck reader and not a long zone.
type patient struct {
	w       http.ResponseWriter
	control *http.ResponseController
	begun   bool
}

func (p *patient) begin() {
	p.w.Header().Set("Content-Type", "text/dns; charset=utf-8")
	p.begun = true
}

func (p *patient) Write(b []byte) (int, error) {
	if !p.begun {
		p.begin()
	}
	if err := p.control.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return 0, err
	}
	return p.w.Write(b)
}
