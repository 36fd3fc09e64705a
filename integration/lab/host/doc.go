// Package host makes hosts that are network namespaces: their interfaces and
// routes, and the programs and sockets in them. Root is needed.
//
// The namespaces have no names under /run/netns: one lives as long as a program,
// a socket or a Host in it, and the kernel takes it away with its interfaces
// when the last of them ends. So a lab that is killed leaves none behind, and
// labs side by side can't meet. Programs die with the process that started them
// (PR_SET_PDEATHSIG).
//
// A namespace belongs to a thread. What must happen in one happens in Do, on a
// thread that is thrown away afterwards; sockets stay in the namespace in which
// they were opened, and may be used from anywhere.
package host
