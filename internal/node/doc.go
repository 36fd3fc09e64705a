// Package node is one running node. It builds the parts from the settings,
// owns the loop around policy.State, keeps entries and health on disk, loads
// zones and configuration again when asked, and stops the parts in order.
//
// In go settings that internal/config has checked, observations of the probes,
// and the requests of the API, whose Backend a Node is; out come revisions for
// the DNS server, targets for the prober, entries on disk, logs and metrics.
// Node.Run owns every goroutine and has joined them when it returns.
//
// Three owners share the work. The loop (loop.go) alone touches policy.State.
// The disk (disk.go) alone touches the database file, so that a hanging or
// broken disk delays nothing but the orders that must wait for it. The
// deployment (deploy.go) is what runs now, settings with zones; a reload
// builds the next one aside and takes it whole or not at all.
package node
