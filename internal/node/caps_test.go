package node

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/scloudstack/pharos/internal/api"
	"github.com/scloudstack/pharos/policy"
)

// runInside runs the test of this name in a process of its own, since what it
// gives up never comes back.
func runInside(t *testing.T, attr *syscall.SysProcAttr) bool {
	t.Helper()
	if inside(t.Name()) {
		return true
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), "PHAROS_TEST_INSIDE="+t.Name())
	cmd.SysProcAttr = attr
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return false
}

// threadStatus collects one field of /proc/PID/status of every thread.
func threadStatus(t *testing.T, field string) map[string]bool {
	t.Helper()
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]bool{}
	for _, task := range tasks {
		text, err := os.ReadFile("/proc/self/task/" + task.Name() + "/status")
		if err != nil {
			continue // the thread has ended
		}
		for line := range strings.Lines(string(text)) {
			if v, ok := strings.CutPrefix(line, field+":"); ok {
				values[strings.TrimSpace(v)] = true
			}
		}
	}
	return values
}

func TestDropPrivileges(t *testing.T) {
	// As root of a user namespace, where the test is not run by root.
	var attr *syscall.SysProcAttr
	if os.Getuid() != 0 {
		attr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		}
	}
	if !runInside(t, attr) {
		return
	}
	// Threads that block in the kernel must lose them as well.
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	var blocked sync.WaitGroup
	for range 4 {
		blocked.Go(func() {
			b := make([]byte, 1)
			for {
				_, err := unix.Read(int(r.Fd()), b) // Fd makes the pipe block
				if err != unix.EINTR {
					return
				}
			}
		})
	}
	if err := dropPrivileges(neededCaps(true), quiet(t)); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("%016x", 1<<unix.CAP_NET_BIND_SERVICE|1<<unix.CAP_NET_RAW)
	for _, field := range []string{"CapEff", "CapPrm", "CapBnd"} {
		if got := threadStatus(t, field); len(got) != 1 || !got[want] {
			t.Errorf("%s is %v in the threads, want %s in all", field, got, want)
		}
	}
	if got := threadStatus(t, "NoNewPrivs"); len(got) != 1 || !got["1"] {
		t.Errorf("NoNewPrivs is %v", got)
	}
	if got := threadStatus(t, "CapAmb"); len(got) != 1 || !got["0000000000000000"] {
		t.Errorf("CapAmb is %v", got)
	}
	// A child of root's name has no more.
	out, err := exec.Command("grep", "CapEff", "/proc/self/status").Output()
	if err != nil || !strings.Contains(string(out), want) {
		t.Errorf("a child has %q, %v", out, err)
	}
	if err := dropPrivileges(neededCaps(false), quiet(t)); err != nil {
		t.Errorf("dropping more: %v", err)
	}
	if got := threadStatus(t, "CapEff"); !got[fmt.Sprintf("%016x", 1<<unix.CAP_NET_BIND_SERVICE)] {
		t.Errorf("CapEff is %v", got)
	}
	w.Close()
	blocked.Wait()
}

// An ordinary user's process has nothing to drop and must start all the same.
func TestDropPrivilegesOfAnOrdinaryUser(t *testing.T) {
	if !inside(t.Name()) {
		attr := &syscall.SysProcAttr{}
		if os.Getuid() == 0 {
			attr.Credential = &syscall.Credential{Uid: 65534, Gid: 65534, NoSetGroups: false}
		}
		// The test's binary may stand where another user can't go.
		binary := copyBinary(t)
		cmd := exec.Command(binary, "-test.run=^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), "PHAROS_TEST_INSIDE="+t.Name())
		cmd.Dir = "/"
		cmd.SysProcAttr = attr
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	if os.Getuid() == 0 {
		t.Fatal("still root")
	}
	if err := dropPrivileges(neededCaps(true), quiet(t)); err != nil {
		t.Fatal(err)
	}
	if got := threadStatus(t, "CapEff"); len(got) != 1 || !got["0000000000000000"] {
		t.Errorf("CapEff is %v", got)
	}
}

// A node of root's keeps what it needs after it gave up the rest: low ports,
// also those that a reload adds, icmp checks, its data folder and its socket.
func TestNodeWithDroppedPrivileges(t *testing.T) {
	var attr *syscall.SysProcAttr
	if os.Getuid() != 0 {
		attr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		}
	}
	if !runInside(t, attr) {
		return
	}
	loopbackUp(t)
	r := newRig(t)
	r.opt.DropPrivileges = true
	r.listen = "127.61.9.5:153"
	r.extra = "include: ping.yaml\n"
	r.write("ping.yaml", `services:
  ping:
    names: [ping.shop.example.]
    ttl: 10s
    endpoints: [{site: city-a, address: 203.0.113.11, check_address: 127.61.1.2}]
    check: {icmp: {}, interval: 200ms, timeout: 150ms, fall: 3, rise: 5}
`)
	r.writeConfig()
	r.start()
	r.wantAnswer(addrA)
	want := fmt.Sprintf("%016x", 1<<unix.CAP_NET_BIND_SERVICE|1<<unix.CAP_NET_RAW)
	if got := threadStatus(t, "CapEff"); len(got) != 1 || !got[want] {
		t.Errorf("CapEff is %v", got)
	}
	r.override("city-b")
	r.wantAnswer(addrB)
	eventually(t, "the icmp check succeeds", func() bool {
		for _, s := range r.status().Decision.Services {
			if s.Service == "ping" {
				return s.Endpoints[0].Health == policy.Up
			}
		}
		return false
	})
	r.listen = "127.61.9.6:153"
	r.writeConfig()
	if _, err := r.node.Reload(t.Context(), api.ReloadRequest{}, "root"); err != nil {
		t.Error(err)
	}
	r.wantAnswer(addrB)
	r.restart()
	r.wantAnswer(addrB)
}

// loopbackUp brings lo up in a network namespace that is new.
func loopbackUp(t *testing.T) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		t.Fatal(err)
	}
	lo.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo); err != nil {
		t.Fatal(err)
	}
}

func copyBinary(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pharos-node-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	path := dir + "/node.test"
	if err := os.WriteFile(path, text, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}
