// Package bounded reads files and runs programs that the configuration names,
// within bounds: of size, of time, of what is shown and what is handed on. So
// nothing that stands at such a path can hold a node, fill its memory or outlive
// its use. It keeps no state and owns no goroutine once a function has returned.
package bounded
