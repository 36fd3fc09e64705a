package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// Scenarios plays all stories of a folder (*.txt), one after the other, each on
// a lab of its own that starts from a topology. Variables, NAME=VALUE, stand in
// the stories as $NAME.
func Scenarios(t *testing.T, dir string, start Topology, variables ...string) {
	t.Helper()
	PlayAll(&testT{T: t}, testscript.Params{Dir: dir}, start, variables...)
}

// ScenariosSideBySide is Scenarios with several labs at a time, as many as go test
// -parallel says: for stories that mostly wait.
func ScenariosSideBySide(t *testing.T, dir string, start Topology, variables ...string) {
	t.Helper()
	PlayAll(&testT{T: t, sideBySide: true}, testscript.Params{Dir: dir}, start, variables...)
}

// PlayAll is Scenarios for other than tests, and for single files.
func PlayAll(t testscript.T, p testscript.Params, start Topology, variables ...string) {
	type stageKey struct{}
	p.Cmds = map[string]func(*testscript.TestScript, bool, []string){}
	for _, name := range Words() {
		p.Cmds[name] = func(ts *testscript.TestScript, negate bool, args []string) {
			stage := ts.Value(stageKey{}).(*Stage)
			err := stage.Do(append([]string{name}, args...), ts.Stdout(), ts.Stderr())
			switch {
			case err != nil && (!negate || errors.Is(err, errUsage)):
				ts.Fatalf("%v", err)
			case err == nil && negate:
				ts.Fatalf("it was to fail")
			}
		}
	}
	p.Setup = func(e *testscript.Env) error {
		read := func(name string) (string, error) {
			if !filepath.IsAbs(name) {
				name = filepath.Join(e.WorkDir, name)
			}
			text, err := os.ReadFile(name)
			return string(text), err
		}
		stage := NewStage(start, read, func(format string, args ...any) { e.T().Log(fmt.Sprintf(format, args...)) })
		e.Values[stageKey{}] = stage
		e.Vars = append(e.Vars, variables...)
		e.Defer(func() {
			f, is := e.T().(interface{ Failed() bool })
			if err := stage.Close(is && f.Failed()); err != nil {
				e.T().Fatal(err)
			}
		})
		return nil
	}
	testscript.RunT(t, p)
}

// testT plays stories one after the other unless it is told otherwise: side by side
// they wait for each other's processors.
type testT struct {
	*testing.T
	sideBySide bool
}

func (t *testT) Parallel() {
	if t.sideBySide {
		t.T.Parallel()
	}
}

func (t *testT) Verbose() bool { return testing.Verbose() }
func (t *testT) Run(name string, f func(testscript.T)) {
	t.T.Run(name, func(part *testing.T) { f(&testT{part, t.sideBySide}) })
}
