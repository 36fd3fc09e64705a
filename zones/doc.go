// Package zones holds DNS data: master files go in, immutable zones come out.
//
// ParseFile reads a file (RFC 1035 §5, with $TTL, $INCLUDE and $GENERATE),
// checks it and returns a Zone, warnings, or every error with file and line.
// A Zone answers Lookup by the rules of RFC 1034 §4.3.2 without allocating, is
// never changed, and may be read by any number of goroutines. WithNames lays
// names over it whose addresses come from steering. A Keeper loads the zones
// of a configuration and keeps the last good versions of each on disk.
//
// The package starts no goroutines and logs nothing.
package zones
