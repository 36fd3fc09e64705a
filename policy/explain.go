package policy

import (
	"fmt"
	"time"
)

// Explanation is the whole reasoning behind what a name answers one client.
type Explanation struct {
	Name       string           `json:"name"`
	Service    ServiceID        `json:"service"`
	Client     string           `json:"client,omitempty"` // as asked
	Group      SiteID           `json:"group,omitempty"`  // the client's group; "": none
	Now        time.Time        `json:"now"`
	Revision   uint64           `json:"revision"`
	Digest     string           `json:"digest"`
	Answer     string           `json:"answer"` // "203.0.113.10 (city-a, up)"
	Fail       bool             `json:"fail,omitempty"`
	A          []string         `json:"a"`
	AAAA       []string         `json:"aaaa"`
	Weights    []WeightStatus   `json:"weights,omitempty"` // where one member is picked for each answer
	TTL        uint32           `json:"ttl"`
	TTLWhy     string           `json:"ttl_why"` // "as configured", "ttl_floor: 2 of 3 failures counted for ..."
	Rule       string           `json:"rule"`
	Steps      []string         `json:"steps"` // the reasoning, a sentence each, in the order of precedence
	Override   *OverrideStatus  `json:"override,omitempty"`
	Steer      Steering         `json:"steer"`
	Metro      MetroID          `json:"active_metro"`
	Epoch      Stamp            `json:"epoch,omitzero"`
	Move       *Move            `json:"move,omitempty"` // the entry that the answer rests on
	Candidates []EndpointStatus `json:"candidates"`     // every endpoint of the service, in order of preference
	Waiting    []WaitStatus     `json:"waiting,omitempty"`
	Suspects   string           `json:"suspects,omitempty"`
}

// WeightStatus is the share of answers that one member gets.
type WeightStatus struct {
	Site   SiteID `json:"site"`
	Weight uint32 `json:"weight"`
	Of     uint32 `json:"of"` // the sum of all weights
}

// Explain tells why a name answers what it answers. An unknown name is an
// error that names the nearest known one.
func (s *State) Explain(q Query, now time.Time) (Explanation, error) {
	return Explanation{}, fmt.Errorf("no steered name %q", q.Name)
}
