// Package faults holds tests of what befalls real nodes of a cluster, and their
// folders: SIGKILL at random moments, full and broken disks, folders that were
// set back or come from the release before, keys that turn, and strangers who
// speak to them. The nodes run in a lab (docs/lab.md), so the tests need root.
package faults
