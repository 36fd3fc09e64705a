package lab

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Stage is where a story is played: a lab, once there is one, that does as it is
// told by words. docs/lab.md lists them.
type Stage struct {
	t       *stageTB
	start   Topology // that the word lab starts from
	read    func(name string) (string, error)
	lab     *Lab
	watches []*Watch // of the words watch
}

// NewStage makes a stage whose labs start from a topology. The file that a word
// names is read by read. Close ends the lab.
func NewStage(start Topology, read func(name string) (string, error), logf func(format string, args ...any)) *Stage {
	return &Stage{t: &stageTB{logf: logf}, start: start, read: read}
}

// Lab is the stage's lab; nil before the word lab.
func (s *Stage) Lab() *Lab { return s.lab }

// Close takes the lab away, all of it, or says what stayed. A story that failed
// has the nodes' logs shown.
func (s *Stage) Close(failed bool) error {
	s.t.failed = failed
	for _, f := range slices.Backward(s.t.cleanups) {
		f()
	}
	s.t.cleanups = nil
	return errors.Join(s.t.errs...)
}

// errUsage is a line that says nothing: it fails a story also where the line is
// to fail.
var errUsage = errors.New("usage")

// Do does what a line says. What the line shows goes to out, what its command
// complains of to errOut.
func (s *Stage) Do(words []string, out, errOut io.Writer) error {
	if len(words) == 0 {
		return nil
	}
	i := slices.IndexFunc(vocabulary, func(w word) bool { return w.name == words[0] })
	if i < 0 {
		return fmt.Errorf("%w: no word %q: there are %s", errUsage, words[0], strings.Join(Words(), ", "))
	}
	w := vocabulary[i]
	if s.lab == nil && w.name != "lab" {
		return errors.New("there is no lab: the word lab comes first")
	}
	l := &line{stage: s, lab: s.lab, rest: words[1:], out: out, errOut: errOut}
	err := catch(func() error { return w.do(l) })
	if errors.Is(err, errUsage) {
		err = fmt.Errorf("%w (%s %s)", err, w.name, w.usage)
	}
	return err
}

// catch makes what failed in the lab an error.
func catch(f func() error) (err error) {
	defer func() {
		if e := recover(); e != nil {
			failure, is := e.(stageFailure)
			if !is {
				panic(e)
			}
			err = failure.error
		}
	}()
	return f()
}

// stageTB is the TB of a stage's lab: what fails there fails the word.
type stageTB struct {
	logf     func(format string, args ...any)
	failed   bool
	errs     []error // of the cleanups
	cleanups []func()
}

// stageFailure is what Fatalf panics with, up to catch.
type stageFailure struct{ error }

func (t *stageTB) Helper()                         {}
func (t *stageTB) Failed() bool                    { return t.failed }
func (t *stageTB) Cleanup(f func())                { t.cleanups = append(t.cleanups, f) }
func (t *stageTB) Logf(format string, args ...any) { t.logf(format, args...) }
func (t *stageTB) Errorf(format string, args ...any) {
	t.errs = append(t.errs, fmt.Errorf(format, args...))
}

func (t *stageTB) Fatalf(format string, args ...any) {
	panic(stageFailure{fmt.Errorf(format, args...)})
}
