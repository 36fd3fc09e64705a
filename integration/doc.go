// Package integration holds the tests that need real peers (knotd, nsd,
// named-checkzone, dig, ...) and the one that keeps imports pointing one way.
// A peer that is missing fails the test: make setup installs them.
package integration
