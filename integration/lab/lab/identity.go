package lab

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// goneWithin is how long the kernel may take to end a lab's processes and threads.
const goneWithin = 10 * time.Second

// labVariable is in the environment of every program of a lab.
const labVariable = "PHAROS_LAB"

// Identity is what tells a lab's things from all others on the machine.
type Identity struct {
	Name       string   `json:"name"`
	Dir        string   `json:"dir"`
	Namespaces []uint64 `json:"namespaces"` // inodes, as in /proc/PID/ns/net
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
			if syscall.Stat(h, &s) == nil && slices.Contains(id.Namespaces, s.Ino) && isNamespace(h) {
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

// isNamespace tells one from a file of another file system with its number.
func isNamespace(path string) bool {
	target, err := os.Readlink(path)
	return err == nil && len(target) > 4 && target[:4] == "net:"
}
