package alert

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/scloudstack/pharos/internal/bounded"
	"github.com/scloudstack/pharos/policy"
)

// program is run for each event, which it reads as JSON from its input.
type program struct{ argv []string }

func (program) close() {}

// send runs the program; exit status 0 is a delivery. When its time is over it
// is killed with its process group.
func (p program) send(ctx context.Context, e Event) error {
	content, err := json.Marshal(e)
	if err != nil {
		return refusal{err}
	}
	output, err := bounded.Program{
		Argv:  p.argv,
		Env:   []string{"PHAROS_CAUSE=" + policy.Printable(e.Cause), "PHAROS_STATE=" + string(e.State), "PHAROS_CLUSTER=" + e.Cluster},
		Input: append(content, '\n'),
	}.Run(ctx)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ctx.Err()):
		return fmt.Errorf("%s was killed: it took too long%s", p.argv[0], after(": ", output))
	}
	return fmt.Errorf("%s: %w%s", p.argv[0], err, after(": ", output))
}
