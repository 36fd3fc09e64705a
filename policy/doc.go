// Package policy decides. It turns what is configured, what was ordered and
// what was observed into one Revision: what every steered name answers.
//
// In go observations, orders and the passing of time, as events with a time
// given by the caller; out come effects: a new revision, entries to store,
// alarms, and when to be woken again. There are no sockets, clocks,
// goroutines, files or globals in here, so every failure replays in a test.
//
// It also owns the vocabulary that the other parts share (SiteID, TargetID,
// Observation, Revision, ...) and imports only the standard library.
package policy
