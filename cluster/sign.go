//go:build !simulation

package cluster

import "crypto/ed25519"

// signs and verifies are all of this package's signatures (RFC 8032). A build for the simulation has others in their place.

func signs(key ed25519.PrivateKey, statement []byte) []byte { return ed25519.Sign(key, statement) }

func verifies(key ed25519.PublicKey, statement, sig []byte) bool {
	return ed25519.Verify(key, statement, sig)
}
