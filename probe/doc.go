// Package probe measures. In goes the whole list of targets that a node has to
// check (Prober.Set); out comes one policy.Observation for each check that
// ended, through the function given to New.
//
// One goroutine keeps the schedule (schedule.go). A check runs in a worker of
// its own, started on demand, and makes up to three attempts beside each other
// (attempt.go): whichever is answered first decides it. Checks of one target
// never overlap, and one that hangs delays no other. The kinds of check are in
// http.go, tcp.go, icmp.go, dns.go and exec.go.
//
// Run owns every goroutine, socket and child process, and none outlives it.
package probe
