package integration

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// TestSetupSaysThatRootIsNeeded runs the script of make setup as a user who is not root: it fails before any test does,
// and says why.
func TestSetupSaysThatRootIsNeeded(t *testing.T) {
	script, err := os.ReadFile("peers/install")
	if err != nil {
		t.Fatal(err)
	}
	list := func(names string) string {
		f, err := os.CreateTemp("", "packages") // t.TempDir is root's alone
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.Remove(f.Name()) })
		_, err = f.WriteString(names + "\n")
		if err := errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
			t.Fatal(err)
		}
		return f.Name()
	}
	const root, unread, missing = "expected root", "/no-such-list: No such file", "apt-get install --no-install-recommends no-such-package-here"
	for _, tt := range []struct {
		args []string
		code int
		says []string
	}{
		{[]string{list("dpkg # is there")}, 0, nil},
		{[]string{list("dpkg no-such-package-here")}, 1, []string{missing}},
		{[]string{list("dpkg"), "/no-such-list"}, 1, []string{unread}},
		{[]string{"--lab", list("dpkg")}, 1, []string{root}},
		{[]string{"--lab", list("dpkg no-such-package-here")}, 1, []string{missing, root}},
	} {
		cmd := exec.Command("sh", append([]string{"-s", "--"}, tt.args...)...)
		cmd.Dir, cmd.Stdin = "/", bytes.NewReader(script) // the user may not reach the folder of the tests
		if os.Geteuid() == 0 {
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		}
		out, err := cmd.CombinedOutput()
		code := 0
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
			code = exit.ExitCode()
		} else if err != nil {
			t.Fatal(err)
		}
		if code != tt.code {
			t.Errorf("%q: exit status %d, want %d\n%s", tt.args, code, tt.code, out)
		}
		for _, say := range []string{root, unread, missing} {
			if got, want := strings.Contains(string(out), say), strings.Contains(strings.Join(tt.says, "\n"), say); got != want {
				t.Errorf("%q says %q: %t, want %t\n%s", tt.args, say, got, want, out)
			}
		}
	}
}
