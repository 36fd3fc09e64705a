package lab

import (
	"bytes"
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/template"
	"time"
)

var (
	//go:embed pharos.yaml.tmpl
	configText string
	//go:embed shop.example.zone
	zoneText string
)

const gossipKeySize = 32 // octets: AES-256

// settings is what a node's file is made of.
type settings struct {
	Name      string
	Node      map[string]string
	Cluster   map[string]string
	Sites     []siteSettings
	Nodes     []nodeSettings
	Endpoints []endpointSettings
	Check     string
	TTL       string
	Return    string
	Extra     bool
}

type siteSettings struct{ Name, Metro, Role, Network, Router, Outside string }

type nodeSettings struct {
	Name, Site, Address, PublicKey string
	Roles                          []string
}

type endpointSettings struct{ Site, Address, Check string }

// prepareNodes writes the files of all nodes.
func (l *Lab) prepareNodes() error {
	var err error
	if l.topology.Program, err = findProgram(l.topology.Program); err != nil {
		return err
	}
	for _, n := range l.nodes {
		if err := os.MkdirAll(n.ownDataDir(), 0o700); err != nil {
			return err
		}
		if err := n.startDisk(); err != nil {
			return err
		}
	}
	if err := l.makeKeys(); err != nil {
		return err
	}
	for _, n := range l.nodes {
		if err := n.writeConfig(l.topology); err != nil {
			return err
		}
	}
	return nil
}

// Configure writes the files of some nodes, or of all, anew, from the topology
// with a change that concerns nothing but files (Check, TTL, Return, Cluster,
// Node, Extra, Zone). Nodes take them by reload, or when they start. The
// topology itself stays as it is.
func (l *Lab) Configure(change func(*Topology), on ...*Node) {
	l.t.Helper()
	t := l.topology
	change(&t)
	if len(on) == 0 {
		on = l.nodes
	}
	for _, n := range on {
		l.must(n.writeConfig(t))
	}
}

// findProgram finds pharos: the one named, that of $PHAROS, or bin/pharos of the
// module of the working folder.
func findProgram(named string) (string, error) {
	if named == "" {
		named = os.Getenv("PHAROS")
	}
	if named != "" {
		return filepath.Abs(named)
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("no pharos: name it in $PHAROS, or run in the module, after make build")
		}
	}
	program := filepath.Join(dir, "bin", "pharos")
	if _, err := os.Stat(program); errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("no %s: run make build first", program)
	}
	return program, nil
}

// makeKeys makes each node's key and the gossip key that all share.
func (l *Lab) makeKeys() error {
	if l.topology.Solo {
		return nil
	}
	for _, n := range l.nodes {
		if err := n.makeKey(); err != nil {
			return fmt.Errorf("key of %s: %w (is this a pharos with a cluster? Solo nodes need none)", n.Name(), err)
		}
	}
	key := make([]byte, gossipKeySize)
	if _, err := rand.Read(key); err != nil {
		return err
	}
	return os.WriteFile(l.gossipKeys(), []byte(base64.StdEncoding.EncodeToString(key)+"\n"), 0o600)
}

// makeKey makes the node's key in a folder of its own, so that it outlives the
// data folder.
func (n *Node) makeKey() error {
	dir := filepath.Join(n.Dir(), "identity")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), commandWithin)
	defer cancel()
	cmd := exec.CommandContext(ctx, n.program(), "cluster", "key", "new", "--data-dir", dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", cmd, err, out)
	}
	for _, word := range strings.Fields(string(out)) {
		if strings.HasPrefix(word, "ed25519:") {
			n.public = word
		}
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	if n.public == "" || len(files) != 1 {
		return fmt.Errorf("%s: expected one file in %s, found %d, and the public half in: %s", cmd, dir, len(files), out)
	}
	n.keyFile = filepath.Join(dir, files[0].Name())
	return nil
}

func (l *Lab) gossipKeys() string { return l.path("gossip.keys") }

// writeConfig writes the node's files as a topology says.
func (n *Node) writeConfig(top Topology) error {
	t := template.Must(template.New("pharos.yaml").Parse(configText))
	var text bytes.Buffer
	if err := t.Execute(&text, n.settings(top)); err != nil {
		return err
	}
	files := map[string]string{
		"pharos.yaml":       text.String(),
		"shop.example.zone": zoneText + top.Zone,
	}
	if top.Extra != "" {
		files["extra.yaml"] = strings.ReplaceAll(top.Extra, "{{dir}}", n.Dir())
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(n.Dir(), name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (n *Node) settings(top Topology) settings {
	s := settings{
		Name: n.Name(), Node: map[string]string{}, Check: top.Check.yaml(), TTL: top.TTL, Return: top.Return, Extra: top.Extra != "",
	}
	for _, more := range []map[string]string{top.Node, n.spec.Node} {
		maps.Copy(s.Node, more)
	}
	if n.keyFile != "" {
		s.Node = with(s.Node, "key_file", n.keyFile)
	}
	if !top.Solo {
		s.Cluster = map[string]string{"name": "lab", "port": "7946", "keys_file": n.lab.gossipKeys()}
		maps.Copy(s.Cluster, top.Cluster)
	}
	for _, site := range n.lab.sites {
		spec := site.spec
		s.Sites = append(s.Sites, siteSettings{
			Name: spec.Name, Metro: spec.Metro, Role: spec.Role,
			Network: spec.network().String(), Router: spec.router().String(), Outside: spec.outside().String(),
		})
		if spec.Public != "" {
			s.Endpoints = append(s.Endpoints, endpointSettings{spec.Name, spec.Public, spec.balancer(0).String()})
		}
	}
	for _, other := range n.lab.nodes {
		if top.Solo && other != n {
			continue
		}
		s.Nodes = append(s.Nodes, nodeSettings{other.Name(), other.site.Name(), other.address.String(), other.public, other.spec.Roles})
	}
	return s
}

func (c Check) yaml() string {
	return fmt.Sprintf("interval: %s, timeout: %s, fall: %d, rise: %d", yamlDuration(c.Interval), yamlDuration(c.Timeout), c.Fall, c.Rise)
}

// yamlDuration writes what the configuration reads.
func yamlDuration(d time.Duration) string { return fmt.Sprintf("%dms", d.Milliseconds()) }

// startNodes starts all nodes, and waits until each answers.
func (l *Lab) startNodes() error {
	if l.topology.Silent {
		return nil
	}
	for _, n := range l.nodes {
		if err := n.launch(); err != nil {
			return err
		}
	}
	for _, n := range l.nodes {
		if err := n.awaitAnswer(); err != nil {
			return err
		}
	}
	return nil
}
