// Package delegation compares a zone's own NS records and the addresses of its
// name servers with what its parent hands out (RFC 1034 §4.2.2: they should be
// the same, and nothing but people keeps them so).
//
// In goes a zone and a resolver to find the parent's servers with; out come
// findings for people. It asks over the network within the caller's context
// and leaves nothing behind.
package delegation
