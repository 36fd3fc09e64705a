// Package demo runs Pharos on one machine without root or configuration: three
// load balancers on loopback addresses, inside this process, and a node that
// steers a name between them, a child process with a generated configuration.
//
// In go a folder, a port and the program to run as the node; out come lines
// for people. Nothing is simulated: the node probes, decides and answers as
// any other. Demo.Run owns every goroutine and the child, and the kernel ends
// the child with this process, however that ends. Fail and Heal speak to a
// running demo over a Unix socket in the folder.
package demo
