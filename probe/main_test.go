package probe

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// serverEnv makes the test binary one of the servers that the benchmark
// probes, so that their cost is not the prober's.
const serverEnv = "PHAROS_PROBE_TEST_SERVER"

func TestMain(m *testing.M) {
	if kind := os.Getenv(serverEnv); kind != "" {
		serve(kind)
		return
	}
	goleak.VerifyTestMain(m)
}
