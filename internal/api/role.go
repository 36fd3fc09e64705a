package api

import (
	"fmt"
	"strings"
)

// Role is what a caller may do. Each includes the ones before it.
type Role uint8

// The roles.
const (
	NoRole  Role = iota
	Read         // look at everything
	Operate      // give orders: overrides, drains, returns, acknowledgements; reload zones
	Approve      // pass safety rules: break glass, gates; declare sites lost, fail over to another metro
	Admin        // load another configuration, change gossip keys
)

var roleNames = [...]string{"none", "read", "operate", "approve", "admin"}

func (r Role) String() string { return roleNames[r] }

// ParseRole reads the name of a role that can be given.
func ParseRole(s string) (Role, error) {
	for i := int(Read); i < len(roleNames); i++ {
		if roleNames[i] == s {
			return Role(i), nil
		}
	}
	return NoRole, fmt.Errorf("unknown role %q: expected %s", s, strings.Join(roleNames[Read:], ", "))
}

// Caller is who is at the other end of a connection, as the kernel, the
// certificate or the token says.
type Caller struct {
	Author string // for orders and the log: "alice", "cert:alice", "token:deploy"
	Role   Role
	Why    string // what gave, or would give, the role: for a refusal's text
}

// may tells why a caller may not do what needs the role; nil: it may.
func (c Caller) may(need Role, what string) error {
	switch {
	case c.Role >= need:
		return nil
	case c.Role == NoRole:
		return newError(403, "%s has no role on this node: %s", c.Author, c.Why)
	default:
		return newError(403, "%s needs the role %s; %s has the role %s (%s)", what, need, c.Author, c.Role, c.Why)
	}
}
