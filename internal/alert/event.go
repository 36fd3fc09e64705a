package alert

import (
	"encoding/json"
	"time"

	"github.com/scloudstack/pharos/policy"
)

// State is what happened to an alarm.
type State string

// The states of an alarm.
const (
	Raised  State = "raised" // it came, or its text changed
	Cleared State = "cleared"
)

// Event is one alarm that came or went.
type Event struct {
	ID      string        `json:"id"` // the same whichever node sends it, so that a receiver can drop a double
	Cluster string        `json:"cluster"`
	Node    policy.NodeID `json:"node"` // who sends
	Cause   string        `json:"cause"`
	State   State         `json:"state"`
	Alarm   string        `json:"alarm"`         // what is wrong
	Way     string        `json:"way,omitempty"` // the next sensible command
	Since   time.Time     `json:"since"`         // when the cause came
	At      time.Time     `json:"at"`            // when it was raised, changed or cleared
}

// Text is the event as a sentence.
func (e Event) Text() string {
	s := "[" + e.Cluster + "] "
	if e.State == Cleared {
		return s + "cleared: " + e.Cause + after(": ", e.Alarm)
	}
	return s + e.Cause + after(": ", e.Alarm) + after(" → ", e.Way)
}

func after(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}

// MarshalJSON adds the sentence as text, which is what chat servers show.
func (e Event) MarshalJSON() ([]byte, error) {
	type fields Event
	return json.Marshal(struct {
		Text string `json:"text"`
		fields
	}{e.Text(), fields(e)})
}

// Delivery is what became of an event at one receiver.
type Delivery struct {
	Event    Event
	Receiver string // webhook, exec or syslog
	Err      error  // why it was given up; nil: it was taken
}
