// Package cluster keeps the entries of all nodes the same on all nodes.
//
// Replica is the state machine: entries of the own node go in (Seal, Commit, Write), so do packets of peers (Decoder,
// Receive), the membership's word on who is there (Up, Down) and the passing of time (Tick); each call returns an Out: what
// to keep on disk, what to tell policy, what to send. It has no clock, no socket and no goroutine, so a simulation runs the
// very thing, and one goroutine owns it. Entries are opaque: each carries its merge rule and its author's signature
// (leaf.go, seal.go), so that also what this release does not know is merged, kept and passed on. News go to every live peer
// at once; what was lost on the way is found by comparing sums over a tree of what is held (tree.go, turn.go), at a cost that
// grows with what differs. Gossip carries the packets, over memberlist (gossip.go); its Run owns the goroutines, and the
// node's loop neither waits for it nor shares anything with it. Audit makes the records of a hash chain per node (audit.go), Verify checks them.
package cluster
