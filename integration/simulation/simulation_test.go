package simulation

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// schedules is how many a run plays: PHAROS_SCHEDULES, from PHAROS_SEED on.
func setting(t *testing.T, name string, otherwise uint64) uint64 {
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s=%q: expected a number", name, text)
	}
	return n
}

// finding is a seed that failed.
type finding struct {
	seed      uint64
	violation *Violation
}

// TestSchedules plays random schedules: make sim, a part of make test, 2,000 of them, make soak-sim more. With real signatures,
// which take four fifths of the time, 50.
func TestSchedules(t *testing.T) {
	first, many := setting(t, "PHAROS_SEED", 1), setting(t, "PHAROS_SCHEDULES", usual)
	if testing.Short() {
		many = min(many, 100)
	}
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	begun := time.Now()
	var next atomic.Uint64
	var mu sync.Mutex // guards what follows
	var total Count
	var agreed []time.Duration
	var worst time.Duration
	var slowest uint64 // the seed of the schedule that took longest to agree
	var found []finding
	var wait sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wait.Go(func() {
			for i := next.Add(1) - 1; i < many; i = next.Add(1) - 1 {
				r, err := Play(Generate(first+i), nil)
				mu.Lock()
				if err != nil {
					r.Violation = &Violation{Rule: "form", Text: err.Error()}
				}
				if r.Violation != nil {
					found = append(found, finding{first + i, r.Violation})
					if many > 5000 {
						fmt.Printf("seed %d: %.300s\n", first+i, r.Violation)
					}
				}
				total.Add(r.Count)
				if r.Agreed > worst {
					worst, slowest = r.Agreed, first+i
				}
				agreed = append(agreed, r.Agreed)
				if n := len(agreed); many > 5000 && n%1000 == 0 {
					fmt.Printf("%d schedules, %d violations, %.1f schedules/s\n", n, len(found), float64(n)/time.Since(begun).Seconds())
				}
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	slices.Sort(agreed)
	t.Logf("%d schedules, %.1f a second; agreed after the heal in %v (median), %v (p99), %v (worst, seed %d)", many,
		float64(many)/time.Since(begun).Seconds(), agreed[len(agreed)/2], agreed[len(agreed)*99/100], worst, slowest)
	t.Logf("%+v", total)
	report(t, found)
}

// report prints the shortest schedules of what was found, one of each rule.
func report(t *testing.T, found []finding) {
	slices.SortFunc(found, func(a, b finding) int { return int(int64(a.seed) - int64(b.seed)) })
	told := map[string]int{}
	for _, f := range found {
		if told[f.violation.Rule]++; told[f.violation.Rule] > 1 || os.Getenv("PHAROS_NOSHRINK") != "" {
			continue
		}
		short := Shrink(Generate(f.seed), func(s *Schedule) bool {
			r, err := Play(s, nil)
			return err == nil && r.Violation != nil && r.Violation.kin(f.violation)
		})
		r, _ := Play(short, nil)
		t.Errorf("seed %d: %s\nshortest schedule:\n%s%s\nto see the story: PHAROS_SEED=%d go test -tags simulation -run TestPlay -v ./integration/simulation",
			f.seed, f.violation, short, r.Violation, f.seed)
	}
	if len(found) > 0 {
		var seeds []string
		for _, f := range found[:min(len(found), 60)] {
			seeds = append(seeds, fmt.Sprintf("%d(%s)", f.seed, f.violation.Rule))
		}
		t.Errorf("%d violations: %v; seeds %s", len(found), told, strings.Join(seeds, " "))
	}
}

var update = flag.Bool("update", false, "rewrite the stories under testdata")

// TestStories plays the schedules under testdata: each was found by a run and mended, or stands for a rule. Behind its
// schedule stands its story: what was written, ordered and answered.
func TestStories(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			head, _, _ := strings.Cut(string(text), storyMark)
			s, err := Parse(head)
			if err != nil {
				t.Fatal(err)
			}
			got := head + storyMark
			r, err := Play(s, func(line string) {
				if _, what, _ := strings.Cut(line, "s "); !strings.Contains(what, " → ") {
					got += what + "\n"
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			if r.Violation != nil {
				t.Fatalf("%s", r.Violation)
			}
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if diff := cmp.Diff(string(text), got); diff != "" {
				t.Errorf("the story differs (-want +got); go test ./integration/simulation -run Stories -update rewrites it:\n%s", diff)
			}
		})
	}
}

const storyMark = "---\n"

// TestPlay plays the schedule in the file PHAROS_PLAY and tells its story.
func TestPlay(t *testing.T) {
	file := os.Getenv("PHAROS_PLAY")
	s := Generate(setting(t, "PHAROS_SEED", 1))
	if file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if s, err = Parse(string(text)); err != nil {
			t.Fatal(err)
		}
	}
	var lines []string
	r, err := Play(s, func(line string) { lines = append(lines, line) })
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s\n%s\n%s", s, strings.Join(lines, "\n"), r.End)
	if r.Violation != nil {
		t.Errorf("%s", r.Violation)
	}
}

// TestSame plays schedules twice: every run of one seed must be the same, else nothing could be played again.
func TestSame(t *testing.T) {
	for seed := range uint64(20) {
		var stories [2]string
		for i := range stories {
			var b strings.Builder
			if _, err := Play(Generate(seed), func(line string) { b.WriteString(line + "\n") }); err != nil {
				t.Fatal(err)
			}
			stories[i] = b.String()
		}
		if stories[0] != stories[1] {
			a, b := strings.Split(stories[0], "\n"), strings.Split(stories[1], "\n")
			for i := range a {
				if i >= len(b) || a[i] != b[i] {
					t.Fatalf("seed %d: two runs differ in line %d:\n%s\n%s", seed, i, a[i], b[min(i, len(b)-1)])
				}
			}
			t.Fatalf("seed %d: two runs differ in length", seed)
		}
	}
}

// TestParse reads what schedules print.
func TestParse(t *testing.T) {
	for seed := range uint64(200) {
		want := Generate(seed).String()
		s, err := Parse(want)
		if err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, want)
		}
		if got := s.String(); got != want {
			t.Fatalf("seed %d: found\n%s\nexpected\n%s", seed, got, want)
		}
	}
}
