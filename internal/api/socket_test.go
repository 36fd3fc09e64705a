package api

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/scloudstack/pharos/internal/config"
)

func TestSocketIsOpenToItsGroup(t *testing.T) {
	s := serve(t, config.API{}, &recorded{})
	info, err := os.Stat(s.cfg.Socket)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o660 {
		t.Errorf("mode %o, want 660", info.Mode().Perm())
	}
}

func TestSocketInTheWay(t *testing.T) {
	dir := shortDir(t)
	path := filepath.Join(dir, "s")

	t.Run("a dead one is replaced", func(t *testing.T) {
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		l.SetUnlinkOnClose(false)
		_ = l.Close()
		l, err = listenUnix(path)
		if err != nil {
			t.Fatal(err)
		}
		_ = l.Close()
	})
	t.Run("a living one is not", func(t *testing.T) {
		l, err := listenUnix(path)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		if _, err := listenUnix(path); err == nil || !strings.Contains(err.Error(), "another node answers") {
			t.Errorf("got %v", err)
		}
		if _, err := os.Stat(path); err != nil {
			t.Errorf("the living socket is gone: %v", err)
		}
	})
	t.Run("a file is not", func(t *testing.T) {
		file := write(t, filepath.Join(dir, "file"), "precious")
		if _, err := listenUnix(file); err == nil || !strings.Contains(err.Error(), "no socket") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a path that is too long says so", func(t *testing.T) {
		if _, err := listenUnix("/tmp/" + strings.Repeat("x", 120)); err == nil || !strings.Contains(err.Error(), "shorter data folder") {
			t.Errorf("got %v", err)
		}
	})
}

func TestPeerOfThisProcess(t *testing.T) {
	l, err := listenUnix(filepath.Join(shortDir(t), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	dialed, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = dialed.Close() }()
	accepted, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = accepted.Close() }()
	p, err := peerOf(accepted)
	if err != nil {
		t.Fatal(err)
	}
	if int(p.uid) != os.Getuid() {
		t.Errorf("uid %d, want %d", p.uid, os.Getuid())
	}
	groups, err := os.Getgroups()
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range append(groups, os.Getgid()) {
		if !slices.Contains(p.groups, uint32(g)) || !p.inGroup(strconv.Itoa(g)) {
			t.Errorf("group %d is missing in %v", g, p.groups)
		}
	}
}

func TestUnixRoles(t *testing.T) {
	a := &access{uid: 500, groups: config.Grants{
		Read: []string{"4001"}, Operate: []string{"4002", "4022"}, Approve: []string{"4003"}, Admin: []string{"4004"},
	}}
	for _, tt := range []struct {
		name   string
		peer   peer
		role   Role
		author string
		why    string
	}{
		{"the node's user", peer{uid: 500}, Admin, "uid:500", "runs as"},
		{"root", peer{uid: 0}, Admin, "root", "root"},
		{"reader", peer{uid: 501, groups: []uint32{4001}}, Read, "uid:501", "group 4001"},
		{"second group of a role", peer{uid: 501, groups: []uint32{7, 4022}}, Operate, "uid:501", "group 4022"},
		{"the highest counts", peer{uid: 501, groups: []uint32{4001, 4003}}, Approve, "uid:501", "group 4003"},
		{"admin", peer{uid: 501, groups: []uint32{4004}}, Admin, "uid:501", "group 4004"},
		{"nobody", peer{uid: 501, groups: []uint32{9}}, NoRole, "uid:501", "4001 (read), 4002 (operate), 4022 (operate)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := a.unixCaller(tt.peer)
			if c.Role != tt.role || c.Author != tt.author || !strings.Contains(c.Why, tt.why) {
				t.Errorf("got %+v, want %s %s %s", c, tt.role, tt.author, tt.why)
			}
		})
	}
}

// TestOtherUsersOverTheSocket speaks to a real socket as other users, which
// takes root: without it, the node's own user is all there is to speak as.
func TestOtherUsersOverTheSocket(t *testing.T) {
	const reader, operator, stranger = 4001, 4002, 4009
	b := &recorded{}
	s := serve(t, config.API{Groups: config.Grants{Read: []string{"4001"}, Operate: []string{"4002"}}}, b)
	if err := os.Chmod(s.cfg.Socket, 0o666); err != nil { // what lets them connect is not tested here
		t.Fatal(err)
	}
	if os.Geteuid() != 0 {
		if code, body := requestAs(t, s.cfg.Socket, -1, 0, "GET /v1/status", ""); code != 200 {
			t.Fatalf("%d %s", code, body)
		}
		return
	}
	const order = `{"kind":"drain","key":"site/city-a","reason":"test"}`
	for _, tt := range []struct {
		name     string
		group    int
		request  string
		body     string
		code     int
		contains string
	}{
		{"a reader reads", reader, "GET /v1/status", "", 200, "edge-a1"},
		{"a reader gives no orders", reader, "POST /v1/orders", order, 403, "needs the role operate; uid:4567 has the role read (group 4001)"},
		{"an operator does", operator, "POST /v1/orders", order, 200, `"author":"uid:4567"`},
		{"an operator does not break glass", operator, "POST /v1/orders", `{"kind":"drain","key":"site/city-a","reason":"x","break_glass":["last-endpoint"]}`, 403, "needs the role approve"},
		{"an operator may try to", operator, "POST /v1/orders", `{"kind":"drain","key":"site/city-a","reason":"x","dry_run":true,"break_glass":["last-endpoint"]}`, 200, `"dry_run":true`},
		{"an operator moves no gate", operator, "POST /v1/orders", `{"kind":"gate","key":"freeze","reason":"x"}`, 403, "needs the role approve"},
		{"an operator loses no site", operator, "POST /v1/orders", `{"kind":"site-lost","key":"city-a","reason":"x"}`, 403, "needs the role approve"},
		{"nor readmits one", operator, "POST /v1/orders", `{"kind":"site-lost","key":"city-a","clear":true}`, 403, "needs the role approve"},
		{"but sees what it would change", operator, "POST /v1/orders", `{"kind":"site-lost","key":"city-a","reason":"x","dry_run":true}`, 200, `"dry_run":true`},
		{"an operator moves no metro", operator, "POST /v1/orders", `{"kind":"active-metro","key":"all","metro":"far","reason":"x"}`, 403, "needs the role approve"},
		{"an operator ends no held start", operator, "POST /v1/orders", `{"kind":"rejoin","key":"edge-a1","reason":"x"}`, 403, "needs the role approve"},
		{"an operator blocks no site", operator, "POST /v1/orders", `{"kind":"block","key":"city-a","reason":"x","for":"5m"}`, 403, "needs the role approve"},
		{"a reader sees the nodes", reader, "GET /v1/cluster", "", 200, `"name":"prod"`},
		{"a reader checks the audit", reader, "POST /v1/audit/verify", "", 200, `"good":true`},
		{"an operator changes no gossip key", operator, "POST /v1/cluster/keys/add", "", 403, "needs the role admin"},
		{"nor uses one", operator, "POST /v1/cluster/keys/use", `{"fingerprint":"3f9a2c1b77d0e1aa"}`, 403, "needs the role admin"},
		{"nor removes one", operator, "POST /v1/cluster/keys/remove", `{"fingerprint":"3f9a2c1b77d0e1aa"}`, 403, "needs the role admin"},
		{"an operator loads no configuration", operator, "POST /v1/reload", `{}`, 403, "needs the role admin"},
		{"an operator reads no other file", operator, "GET /v1/diff?config=/etc/shadow", "", 403, "needs the role admin"},
		{"but the node's own", operator, "GET /v1/diff?config=/etc/pharos/pharos.yaml", "", 200, "pharos.yaml"},
		{"a stranger is told which groups count", stranger, "GET /v1/status", "", 403, "4001 (read), 4002 (operate)"},
		{"a stranger sees no metrics", stranger, "GET /metrics", "", 403, "no role"},
		{"health is no secret", stranger, "GET /healthz", "", 200, "ok"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, body := requestAs(t, s.cfg.Socket, 4567, tt.group, tt.request, tt.body)
			if code != tt.code || !strings.Contains(body, tt.contains) {
				t.Errorf("got %d %s, want %d with %q", code, body, tt.code, tt.contains)
			}
		})
	}
}

// requestAs sends a request from a thread that has become another user. The
// thread ends with its goroutine, so nothing else ever runs as that user.
func requestAs(t *testing.T, socket string, uid, group int, request, body string) (int, string) {
	t.Helper()
	type answer struct {
		code int
		body string
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		runtime.LockOSThread() // never unlocked
		if uid >= 0 {
			if err := becomeThisThread(uid, group); err != nil {
				got <- answer{err: err}
				return
			}
		}
		var a answer
		a.code, a.body, a.err = rawRequest(socket, request, body)
		got <- a
	}()
	a := <-got
	if a.err != nil {
		t.Fatal(a.err)
	}
	return a.code, a.body
}

func becomeThisThread(uid, group int) error {
	groups := []uint32{uint32(group)}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, 1, uintptr(unsafe.Pointer(&groups[0])), 0); errno != 0 {
		return fmt.Errorf("setgroups: %w", errno)
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESGID, 65534, 65534, 65534); errno != 0 {
		return fmt.Errorf("setresgid: %w", errno)
	}
	id := uintptr(uid)
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, id, id, id); errno != 0 {
		return fmt.Errorf("setresuid: %w", errno)
	}
	return nil
}

// rawRequest connects on the calling thread, whose user is what counts.
func rawRequest(socket, request, body string) (int, string, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, "", err
	}
	f := os.NewFile(uintptr(fd), "socket")
	defer func() { _ = f.Close() }()
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: socket}); err != nil {
		return 0, "", fmt.Errorf("connect: %w", err)
	}
	_, err = fmt.Fprintf(f, "%s HTTP/1.1\r\nHost: pharos\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", request, len(body), body)
	if err != nil {
		return 0, "", err
	}
	resp, err := http.ReadResponse(bufio.NewReader(f), nil)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	var text strings.Builder
	if _, err := bufio.NewReader(resp.Body).WriteTo(&text); err != nil && !errors.Is(err, http.ErrBodyReadAfterClose) {
		return 0, "", err
	}
	return resp.StatusCode, text.String(), nil
}
