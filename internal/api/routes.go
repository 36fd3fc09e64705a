package api

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// routes is everything that a listener serves.
func (s *Server) routes(b Backend, gatherer prometheus.Gatherer) http.Handler {
	mux := http.NewServeMux()
	newAPI(mux, b)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if r := b.Ready(); !r.Ready {
			http.Error(w, r.Why, http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, "ready\n")
	})
	mux.Handle("GET /metrics", needs(Read, "metrics", promhttp.HandlerFor(gatherer, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
	})))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if allow := allowed(mux, r); allow != "" {
			w.Header().Set("Allow", allow)
			writeError(w, newError(http.StatusMethodNotAllowed, "%s does not take %s, but %s", r.URL.Path, r.Method, allow))
			return
		}
		writeError(w, newError(http.StatusNotFound, "no operation %s %s: see /openapi.yaml", r.Method, r.URL.Path))
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.serve(mux, w, r) })
}

// allowed lists the methods that a path takes, of those in use here.
func allowed(mux *http.ServeMux, r *http.Request) string {
	var all []string
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		other := r.Clone(r.Context())
		other.Method = method
		if _, pattern := mux.Handler(other); strings.HasPrefix(pattern, method+" ") {
			all = append(all, method)
		}
	}
	return strings.Join(all, ", ")
}

// serve finds the caller out, and notes in the log who tried to change
// something and could not.
func (s *Server) serve(mux http.Handler, w http.ResponseWriter, r *http.Request) {
	r = r.WithContext(s.access.Load().identify(r))
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		mux.ServeHTTP(w, r)
		return
	}
	begun, rec := time.Now(), &recorder{ResponseWriter: w, status: http.StatusOK}
	mux.ServeHTTP(rec, r)
	author := "nobody"
	if c, err := callerOf(r.Context()); err == nil {
		author = c.Author
	}
	level := slog.LevelDebug // the node itself tells what was done
	if rec.status >= http.StatusBadRequest {
		level = slog.LevelWarn
	}
	s.log.Log(r.Context(), level, "api request", "author", author, "operation", r.Method+" "+r.URL.Path,
		"status", rec.status, "took", time.Since(begun).Round(time.Microsecond))
}

// needs guards what is no operation of the API.
func needs(role Role, what string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := callerOf(r.Context())
		if err == nil {
			err = c.may(role, what)
		}
		if err != nil {
			writeError(w, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// writeError sends problem details.
func writeError(w http.ResponseWriter, err error) {
	var e *Error
	if !errors.As(err, &e) {
		e = newError(http.StatusInternalServerError, "%s", err)
	}
	if e.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="pharos"`)
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(e.Status)
	_ = json.NewEncoder(w).Encode(e) // the caller is gone: nobody is left to tell
}

// recorder notes the status that was sent.
type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
