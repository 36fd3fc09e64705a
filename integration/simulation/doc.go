// Package simulation runs whole clusters of the real policy.State and the real cluster.Replica in one
// goroutine, on a virtual clock, network and disks, so that every failure replays.
//
// A Schedule is what goes in: sites and nodes, and timed actions (cuts, kills, orders, clocks), which prints
// as text and parses back. Run plays it, checks what DECIDING says must hold (I1 to I10) all the while and after a
// heal at its end, and gives a Result. Generate draws a schedule from a seed, Shrink makes one that fails shorter.
//
// What is not real here: sockets and memberlist (network), bbolt (disk), and the loop of internal/node, whose
// order of work node.go and absorb.go copy.
package simulation
