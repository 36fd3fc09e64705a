package policy

import "time"

// Outcome of one check.
type Outcome uint8

const (
	Success Outcome = iota
	Refused         // an answer that says no: refused, reset, a wrong status
	Timeout         // no answer in time; on a lossy path this is not death
	Unable          // the observer's own host kept it from asking: no result, and nothing is said of the target
)

// Observation is what one node saw of one target, once.
type Observation struct {
	Target   TargetID
	Observer NodeID
	At       time.Time // when the check ended
	Outcome  Outcome
	Latency  time.Duration
	Reason   string // for people: "503 from 203.0.113.10:443 after 12 ms"; of Unable, the fault and what mends it
}

// HealthState is what is held true of a target.
type HealthState uint8

const (
	Unknown HealthState = iota
	Up
	Down
)
