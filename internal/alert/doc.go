// Package alert sends alarms to where people see them: a webhook, a program,
// syslog; and a heartbeat to a dead man's switch. Events go in by Send, which
// never blocks; what became of each comes out by a callback. Each receiver has a
// bounded queue and a goroutine of its own, so that one that hangs holds up no
// other; Run owns the goroutines and joins them. Which node of a cluster sends
// is its caller's to know. A Feed sends a stream of messages, the audit, to syslog.
package alert
