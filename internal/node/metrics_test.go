package node

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/scloudstack/pharos/internal/api"
)

// metrics reads what a scrape would.
func (r *rig) metrics() string {
	r.t.Helper()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", api.SocketPath(r.data))
	}}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	reply, err := client.Get("http://node/metrics")
	if err != nil {
		r.t.Fatal(err)
	}
	defer reply.Body.Close()
	text, err := io.ReadAll(reply.Body)
	if err != nil || reply.StatusCode != http.StatusOK {
		r.t.Fatalf("%s: %v", reply.Status, err)
	}
	return string(text)
}

func TestMetrics(t *testing.T) {
	r := newRig(t)
	r.withOther()
	r.write("other.zone", "this is no zone\n")
	r.start()
	r.override("city-b")
	text := r.metrics()
	digest := r.node.situation().running.settings.Digest()
	for _, want := range []string{
		`pharos_build_info{commit="",go="",version="test"} 1`,
		`pharos_config_info{digest="` + fmt.Sprintf("%x", digest),
		`pharos_entries{kind="override"} 1`,
		"pharos_disk_failing 0",
		"pharos_ready 1",
		`pharos_zones{source="file"} 1`,
		`pharos_zones{source="none"} 1`,
		"pharos_zone_records ",
		`pharos_zone_source{source="none",zone="other.example."} 1`,
		`pharos_zone_serial{zone="shop.example."} 1`,
		`pharos_alarm{acknowledged="false",cause="zone/other.example."} 1`,
		fmt.Sprintf("pharos_decision_revision %d\n", r.status().Node.Revision.Number),
		`pharos_target_up{check="`,
		"pharos_observations_lost_total 0",
		"pharos_decision_step_seconds_count",
		"go_goroutines",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no metric %s", want)
		}
	}
	if strings.Contains(text, `source="file",zone=`) {
		t.Error("a zone that is served from its file has a series for that")
	}
	if t.Failed() {
		for line := range strings.Lines(text) {
			if strings.HasPrefix(line, "pharos_") && !strings.HasPrefix(line, "pharos_dns") && !strings.HasPrefix(line, "pharos_probe") {
				t.Log(strings.TrimSpace(line))
			}
		}
	}
}
