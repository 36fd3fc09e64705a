package config

import (
	"path/filepath"

	"github.com/scloudstack/pharos/policy"
)

// api reads how people and programs reach the node.
func (r *reading) api(n *node) {
	a := &r.s.API
	r.object(n, "api",
		optional("socket", r.text(&a.Socket)),
		optional("listen", r.listen(&a.Listen, 0)),
		optional("tls", func(v *node) {
			r.object(v, "api.tls",
				required("cert_file", r.apiFile(&a.TLS.CertFile)),
				required("key_file", r.apiFile(&a.TLS.KeyFile)),
				optional("client_ca_file", r.apiFile(&a.TLS.ClientCAFile)),
			)
		}),
		optional("tokens_file", r.apiFile(&a.TokensFile)),
		optional("groups", func(v *node) { a.Groups = r.grants(v, "api.groups", "Unix groups") }),
		optional("clients", func(v *node) { a.Clients = r.grants(v, "api.clients", "common names of client certificates") }),
	)
	r.judgeAPI(n)
}

// apiFile reads the path of a file that the API reads later, and keeps its place.
func (r *reading) apiFile(dst *string) reader {
	read := r.file(dst)
	return func(v *node) {
		read(v)
		if r.s.API.places == nil {
			r.s.API.places = map[string]place{}
		}
		r.s.API.places[v.path()] = v.at
	}
}

// FileProblem is what is wrong with the file that a key names, such as
// api.tls.cert_file, at the place of the key's value.
func (a API) FileProblem(key, text string) Problem {
	return a.places[key].problem(key + ": " + text)
}

func (r *reading) judgeAPI(n *node) {
	if n.has("listen") && !n.has("tls") {
		r.errorf(n.get("listen"), "needs tls beside it: the API is never served in the clear")
	}
	if !n.has("listen") {
		for _, k := range []string{"tls", "tokens_file", "clients"} {
			if v := n.get(k); v != nil {
				r.errorf(v, "has no meaning without listen: the Unix socket knows its callers by their user")
			}
		}
		return
	}
	clientCA := n.get("tls").has("client_ca_file")
	if v := n.get("clients"); v != nil && !clientCA {
		r.errorf(v, "has no meaning without tls.client_ca_file")
	}
	if !clientCA && !n.has("tokens_file") {
		r.warnf(n.get("listen"), "nobody can be let in: there is neither tokens_file nor tls.client_ca_file")
	}
	if clientCA && !n.has("clients") {
		r.warnf(n.get("tls").get("client_ca_file"), "no client certificate has a role: clients is missing")
	}
}

// grants reads who has which role.
func (r *reading) grants(n *node, schema, who string) Grants {
	var g Grants
	names := func(dst *[]string) reader {
		return func(v *node) {
			r.each(v, who, true, func(v *node) {
				var s string
				r.text(&s)(v)
				switch {
				case s == "":
				case policy.Printable(s) != s: // it is the author of orders
					r.errorf(v, "%q has characters that are not printable", s)
				default:
					*dst = append(*dst, s)
				}
			})
		}
	}
	r.object(n, schema,
		optional("read", names(&g.Read)),
		optional("operate", names(&g.Operate)),
		optional("approve", names(&g.Approve)),
		optional("admin", names(&g.Admin)),
	)
	return g
}

// apiDefaults puts the socket into the data folder.
func (r *reading) apiDefaults(root *node) {
	a := &r.s.API
	switch {
	case a.Socket == "":
		a.Socket = filepath.Join(r.s.DataDir, "pharos.sock")
	case !filepath.IsAbs(a.Socket):
		a.Socket = filepath.Join(r.dir, a.Socket)
	}
	const longest = 107 // of sockaddr_un.sun_path, less the final zero
	if len(a.Socket) <= longest {
		return
	}
	const text = "the path of the API's Unix socket is longer than 107 octets"
	if v := root.get("api").get("socket"); v != nil {
		r.errorf(v, "%s", text)
		return
	}
	r.errors = append(r.errors, finding{text: text + ": choose a shorter data_dir, or give api.socket: " + a.Socket})
}
