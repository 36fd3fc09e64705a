//go:build simulation

package cluster

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/subtle"
)

// What integration/simulation is built with to play more schedules: Ed25519 takes four fifths of its time. These are no
// signatures, since who knows the public key can make them; they fail where a signature fails among nodes that
// forge nothing: on another key, another statement, a changed octet.

func signs(key ed25519.PrivateKey, statement []byte) []byte {
	return digested(key.Public().(ed25519.PublicKey), statement)
}

func verifies(key ed25519.PublicKey, statement, sig []byte) bool {
	return subtle.ConstantTimeCompare(digested(key, statement), sig) == 1
}

func digested(key ed25519.PublicKey, statement []byte) []byte {
	h := sha256.New()
	_, _ = h.Write(key) // a hash never fails
	_, _ = h.Write(statement)
	return append(h.Sum(nil), make([]byte, ed25519.SignatureSize-sha256.Size)...)
}
