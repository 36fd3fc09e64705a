// Package stories tells what may happen to three sites, as text, and holds the cluster to it.
package stories

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"go.uber.org/goleak"

	"github.com/scloudstack/pharos/integration/lab/lab"
)

func TestMain(m *testing.M) {
	lab.RunPart()
	goleak.VerifyTestMain(m)
}

// scale is how long a test takes: as in make test, or as in make soak (PHAROS_SOAK).
type scale struct {
	runs                           int
	hold, loss, flap, rejoin, dark string
}

func soaking() bool { return os.Getenv("PHAROS_SOAK") != "" }

func scaled() scale {
	if soaking() {
		return scale{runs: 50, hold: "1m", loss: "5m", flap: "3m", rejoin: "10m", dark: "10m30s"}
	}
	return scale{runs: 5, hold: "5s", loss: "30s", flap: "40s", rejoin: "3s", dark: "4s"}
}

// TestStories tells the stories beside this file, several at a time: go test -parallel.
func TestStories(t *testing.T) {
	s := scaled()
	lab.ScenariosSideBySide(t, ".", lab.Default(),
		"HOLD="+s.hold, "LOSS="+s.loss, "FLAP="+s.flap, "REJOIN="+s.rejoin, "DARK="+s.dark,
		"SEED="+strconv.Itoa(seed(t)), "SKEWED="+skewed(t))
}

// seed is that of the lines' chances; $PHAROS_SEED repeats a run's.
func seed(t *testing.T) int {
	t.Helper()
	text := os.Getenv("PHAROS_SEED")
	if text == "" {
		text = strconv.Itoa(os.Getpid())
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("PHAROS_SEED=%q: expected a number", text)
	}
	t.Logf("PHAROS_SEED=%d", n)
	return n
}

// skewed builds a pharos whose clock may be off.
func skewed(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "pharos-skewed")
	build := exec.Command("go", "build", "-tags", "skew", "-o", program, "../../cmd/pharos")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", build, err, out)
	}
	return program
}
