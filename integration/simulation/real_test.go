//go:build !simulation

package simulation

// usual is how many schedules a run plays that is told no number: with real signatures.
const usual = 50
