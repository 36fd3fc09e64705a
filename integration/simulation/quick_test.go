//go:build simulation

package simulation

// usual is how many schedules a run plays that is told no number.
const usual = 2000
