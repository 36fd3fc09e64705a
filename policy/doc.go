// Package policy decides. It turns what is configured, what was ordered and
// what was observed into one Revision: what every steered name answers.
//
// In go observations, orders, what peers voted and wrote, and the passing of time, as events with a time
// given by the caller (Start, Step); out come effects: a new revision, entries to store and
// send, the node's own vote, and when to be woken again. What was observed never changes an answer
// by itself: it justifies a move, which is an entry, and answers are made of the configuration,
// the entries and the time alone (choice.go chooses, move.go writes, answer.go answers).
// The votes of nodes are counted by site (peers.go, verdict.go); a start after long is held (hold.go).
// Judge is the dry run of an order, Explain and Status tell why things are as they are.
// There are no sockets, clocks, goroutines, files or globals in here, so every
// failure replays in a test; the stories under testdata are read as text.
//
// It also owns the vocabulary that the other parts share (SiteID, TargetID,
// Observation, Revision, ...) and imports only the standard library.
package policy
