package probe

import (
	"github.com/scloudstack/pharos/policy"
)

// Config is what a Prober needs to know beside its targets.
type Config struct {
	Observer policy.NodeID // stands in every observation
	Workers  int           // checks under way at once; 0: as many as there are targets
}
