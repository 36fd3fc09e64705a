package lab

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Words that a disk takes on its standard input.
const (
	wordFull     = "full"
	wordFree     = "free"
	wordReadOnly = "readonly"
	wordWritable = "writable"
)

const fillerFile = ".filler"

// runDisk is the process of a node's disk: a mount namespace in which the node's
// data folder is a file system of its own, for as long as it lives.
func runDisk(dir, size string) error {
	// What is mounted here stays here.
	if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	options := "mode=0700,size=" + size
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		return fmt.Errorf("mount %s: %w", dir, err)
	}
	fmt.Println(readyWord)
	for words := bufio.NewScanner(os.Stdin); words.Scan(); {
		var err error
		switch words.Text() {
		case wordFull:
			err = fill(filepath.Join(dir, fillerFile))
		case wordFree:
			err = os.RemoveAll(filepath.Join(dir, fillerFile))
		case wordReadOnly:
			err = unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, options)
		case wordWritable:
			err = unix.Mount("", dir, "", unix.MS_REMOUNT, options)
		default:
			err = errors.New("no such word")
		}
		if err != nil {
			return fmt.Errorf("%s: %w", words.Text(), err)
		}
		fmt.Println(words.Text())
	}
	return nil
}

// fill writes a file until the disk has no room.
func fill(name string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	for size := 64 << 10; size > 0 && err == nil; {
		if _, err = f.Write(make([]byte, size)); errors.Is(err, syscall.ENOSPC) {
			err = nil
			size /= 2
		}
	}
	return errors.Join(err, f.Close())
}

// startDisk gives the node its disk.
func (n *Node) startDisk() error {
	size := n.lab.topology.Disk
	if size == 0 {
		return nil
	}
	var err error
	if n.disk, err = n.lab.startPart(n.host, partDisk, n.ownDataDir(), strconv.FormatInt(size, 10)); err != nil {
		return err
	}
	n.mounts, err = os.Open(fmt.Sprintf("/proc/%d/ns/mnt", n.disk.PID))
	return err
}

// endDisk takes it away, with what is on it.
func (n *Node) endDisk() error {
	var errs []error
	if n.mounts != nil {
		errs = append(errs, n.mounts.Close())
	}
	if n.disk != nil {
		errs = append(errs, n.disk.end())
	}
	return errors.Join(errs...)
}

func (n *Node) tellDisk(word string) {
	n.lab.t.Helper()
	if n.disk == nil {
		n.lab.t.Fatalf("lab: node %s has no disk of its own: the topology says none (Disk)", n.Name())
	}
	n.lab.must(n.disk.tell(word))
}

// FillDisk leaves no room on the node's disk.
func (n *Node) FillDisk() {
	n.lab.t.Helper()
	n.tellDisk(wordFull)
}

// FreeDisk ends FillDisk.
func (n *Node) FreeDisk() {
	n.lab.t.Helper()
	n.tellDisk(wordFree)
}

// ReadOnlyDisk has the disk refuse to be written. The kernel does that only
// while no file on it is open for writing, so the node must not run.
func (n *Node) ReadOnlyDisk() {
	n.lab.t.Helper()
	n.tellDisk(wordReadOnly)
}

// WritableDisk ends ReadOnlyDisk.
func (n *Node) WritableDisk() {
	n.lab.t.Helper()
	n.tellDisk(wordWritable)
}
