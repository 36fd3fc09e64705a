package lab

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/scloudstack/pharos/integration/lab/host"
)

// goneWithin is how long the kernel may take to end a lab's processes and threads.
const goneWithin = 10 * time.Second

// labVariable is in the environment of every program of a lab.
const labVariable = "PHAROS_LAB"

// Identity is what tells a lab's things from all others on the machine.
type Identity struct {
	Name       string           `json:"name"`
	Dir        string           `json:"dir"`
	Namespaces []host.Namespace `json:"namespaces"`
}

// Traces are the processes, namespaces and folders of the lab that are there.
func (id Identity) Traces() []string {
	var found []string
	if _, err := os.Lstat(id.Dir); err == nil {
		found = append(found, "folder "+id.Dir)
	}
	processes, _ := filepath.Glob("/proc/[0-9]*")
	mark := []byte(labVariable + "=" + id.Name)
	for _, p := range processes {
		environment, err := os.ReadFile(filepath.Join(p, "environ"))
		if err == nil && slices.ContainsFunc(bytes.Split(environment, []byte{0}), func(v []byte) bool { return bytes.Equal(v, mark) }) {
			line, _ := os.ReadFile(filepath.Join(p, "cmdline"))
			found = append(found, fmt.Sprintf("process %s: %s", filepath.Base(p), bytes.ReplaceAll(line, []byte{0}, []byte{' '})))
		}
		holders, _ := filepath.Glob(filepath.Join(p, "fd/*"))
		threads, _ := filepath.Glob(filepath.Join(p, "task/*/ns/net"))
		for _, h := range append(holders, threads...) {
			var s syscall.Stat_t
			if syscall.Stat(h, &s) == nil && id.has(s.Ino) && isNamespace(h) && id.holds(h) {
				found = append(found, fmt.Sprintf("network namespace %d, held by %s", s.Ino, h))
			}
		}
	}
	return found
}

// awaitNone waits for the kernel to end what was told to, and returns what it
// did not.
func (id Identity) awaitNone() []string {
	for begun := time.Now(); ; <-time.After(pollEvery) {
		if traces := id.Traces(); len(traces) == 0 || time.Since(begun) > goneWithin {
			return traces
		}
	}
}

// has says whether a namespace of the lab has, or had, an inode.
func (id Identity) has(inode uint64) bool {
	return slices.ContainsFunc(id.Namespaces, func(n host.Namespace) bool { return n.Inode == inode })
}

// holds says whether a file in /proc is a namespace of the lab, and not one that was made
// since with the inode of one.
func (id Identity) holds(path string) bool {
	n, err := host.NamespaceAt(path)
	return err == nil && slices.Contains(id.Namespaces, n)
}

// isNamespace tells one from a file of another file system with its number.
func isNamespace(path string) bool {
	target, err := os.Readlink(path)
	return err == nil && len(target) > 4 && target[:4] == "net:"
}
