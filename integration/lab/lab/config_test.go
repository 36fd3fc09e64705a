package lab

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestConfigOfACluster reads what the nodes of a cluster are given. Their keys
// are made by a script that keeps to the command line of pharos.
func TestConfigOfACluster(t *testing.T) {
	program := filepath.Join(t.TempDir(), "pharos")
	script := `#!/bin/sh
[ "$1 $2 $3 $4" = "cluster key new --data-dir" ] || exit 2
echo secret > "$5/node.key"
echo "ed25519:$(echo "$5" | cksum | cut -d' ' -f1)"
`
	if err := os.WriteFile(program, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	topology := Default().WithNodes(2)
	topology.Silent, topology.Program = true, program
	topology.Cluster = map[string]string{"rejoin_after": "1m"}
	topology.Sites[2].Nodes[1].Roles = []string{"dns"}
	topology.Sites[2].Nodes[1].Node = map[string]string{"data_dir": "/elsewhere"}
	topology.Extra = "alarms: {exec: {{dir}}/tell}\n"
	l := New(t, topology)
	n := l.Node("edge-r2")
	text := readFile(t, n.Config())
	for _, want := range []string{
		"name: edge-r2\n", "data_dir: /elsewhere\n", "key_file: " + n.Dir() + "/identity/node.key\n",
		"edge-a2: {site: city-a, address: 10.1.0.6, public_key: \"" + l.Node("edge-a2").public + "\"}\n",
		"edge-r2: {site: remote, address: 10.9.0.6, roles: [dns], public_key: \"" + n.public + "\"}\n",
		"  rejoin_after: 1m\n", "  keys_file: " + l.Dir() + "/gossip.keys\n", "include: extra.yaml\n",
		"wan: {icmp: 192.0.2.9, interval: 200ms, timeout: 150ms, fall: 3, rise: 3}\n",
		"- {site: remote, address: 198.51.100.10, check_address: 10.9.8.10}\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if l.Node("edge-a2").public == n.public {
		t.Error("two nodes have one key")
	}
	if got := readFile(t, filepath.Join(n.Dir(), "extra.yaml")); got != "alarms: {exec: "+n.Dir()+"/tell}\n" {
		t.Errorf("extra: %s", got)
	}
}
