// Package wan moves frames between pairs of network interfaces as lines between
// sites would: with delay, jitter, loss, reordering, duplication, a bandwidth,
// and cuts in which frames vanish while the carrier stays. Kernels without netem
// exist, and netem does not say what it really did.
//
// An Emulator is a process of its own (Emulate): in the process of a test, its
// one thread would wait for the test's goroutines. It reads frames from packet
// sockets with the kernel's receive stamps, has each leave at its stamp plus its
// delay, and records when it really left. Client is how a test sets a wire, at
// any time, over a Unix socket: one JSON object a line, each answered by one.
//
// Frames of a direction stay in order save those that Reorder holds back. The
// wires' outer ends must compute their checksums and segments themselves
// (offloads off), since what is read here is sent on as it is.
package wan
