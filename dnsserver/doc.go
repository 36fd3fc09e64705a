// Package dnsserver answers DNS questions over UDP and TCP.
//
// In goes Data: one decision (policy.Revision) and the zones it lies over. Set
// compiles what changed of it into wire bytes and swaps one pointer; a question
// is answered from that alone, without locks and without allocating. What is
// unusual (ANY, CHAOS, truncation, client subnets, DNAME, malformed packets) is
// composed when it is asked for, by the same function that compiles.
//
// Run owns every socket, thread and goroutine: one thread with a SO_REUSEPORT
// socket of its own per listener and core for UDP, one goroutine a connection
// for TCP. They have ended when Run returns.
package dnsserver
