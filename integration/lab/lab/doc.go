// Package lab is a network of several sites on one machine, for tests against
// real nodes: New brings one up, and takes it away when the test ends.
//
// Every site has an edge router, nodes, load balancers and clients, each a
// network namespace of its own (package host). What may fail is a wire through
// the emulator (package wan): the links between sites, each site's uplink to the
// Internet, and the cables of each node and of each site's balancers. Nodes are
// the real program, balancers are small HTTP servers. A node is asked from the
// clients of its site over a cable of its own, so that it can also be asked when
// it is cut off from everything else.
//
//	l := lab.New(t, lab.Default())
//	l.Link("dwdm").Cut()
//	l.Steady(30*time.Second, l.Answers("www.shop.example.", "203.0.113.10"))
//
// What goes wrong in the lab itself fails the test (Fatalf): call its methods
// from the test's own goroutine. A test binary calls RunPart first in TestMain,
// since balancers and the emulator are that program started again.
//
// A lab that is killed leaves nothing behind: namespaces have no names, programs
// die with the lab, and its folder is removed by a keeper that waits for its end.
//
// Scenarios (Script) are stories in text that run on a lab; docs/lab.md has the
// words.
package lab
