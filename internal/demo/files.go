package demo

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/template"
)

// The files of a demo's folder, beside the node's own.
const (
	configFile  = "pharos.yaml"
	keysFile    = "gossip.keys"
	zoneFile    = "shop.example.zone"
	logFile     = "node.log" // in each node's own folder
	stateFile   = "demo.json"
	controlFile = "demo.sock"
)

//go:embed pharos.yaml.tmpl
var configText string

//go:embed shop.example.zone
var zoneText []byte

// state is what a demo keeps between runs.
type state struct {
	Port      uint16            `json:"port"`      // of DNS
	Balancers uint16            `json:"balancers"` // their port
	Gossip    uint16            `json:"gossip"`    // port of the nodes among themselves
	Broken    []string          `json:"broken"`    // sites whose balancer answers 503
	Killed    []string          `json:"killed"`    // sites whose node and balancer do not run
	Cut       []string          `json:"cut"`       // links
	Written   map[string]string `json:"written"`   // SHA-256 of each generated file, to know one that was edited
}

// openFolder makes the folder, or reads what an earlier demo left in it. A
// folder that is not empty and no demo's is somebody's, and left alone.
func openFolder(dir string) (state, error) {
	s := state{Written: map[string]string{}}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return s, fmt.Errorf("demo folder: %w", err)
	}
	text, err := os.ReadFile(filepath.Join(dir, stateFile))
	if err == nil {
		if err := json.Unmarshal(text, &s); err != nil {
			return s, fmt.Errorf("%s can't be read: %w; remove the folder to start afresh", filepath.Join(dir, stateFile), err)
		}
		if s.Written == nil {
			s.Written = map[string]string{}
		}
		return s, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return s, fmt.Errorf("demo folder: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return s, fmt.Errorf("demo folder: %w", err)
	}
	if len(entries) > 0 {
		return s, fmt.Errorf("%s is not empty and no demo's folder: name another with --data-dir", dir)
	}
	return s, nil
}

// save keeps the state; a crash leaves the old or the new one.
func (s state) save(dir string) error {
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("demo state: %w", err)
	}
	return replaceFile(filepath.Join(dir, stateFile), append(text, '\n'))
}

// generate writes the configuration and the zone, unless a person has edited
// them since. It tells which files were left alone.
func (s *state) generate(dir string, keys map[string]string) (edited []string, err error) {
	var config bytes.Buffer
	t, err := template.New(configFile).Parse(configText)
	if err != nil {
		return nil, fmt.Errorf("demo configuration: %w", err)
	}
	type namedNode struct{ Name, Site, Address, Key string }
	type namedLink struct {
		Name    string
		Between [2]string
	}
	values := struct {
		Port, Balancers, Gossip uint16
		Nodes                   []namedNode
		Links                   []namedLink
	}{Port: s.Port, Balancers: s.Balancers, Gossip: s.Gossip}
	for _, x := range sites {
		values.Nodes = append(values.Nodes, namedNode{x.node, x.name, x.at.String(), keys[x.node]})
	}
	for _, l := range links {
		values.Links = append(values.Links, namedLink{l.name, l.between})
	}
	if err := t.Execute(&config, values); err != nil {
		return nil, fmt.Errorf("demo configuration: %w", err)
	}
	for name, text := range map[string][]byte{configFile: config.Bytes(), zoneFile: zoneText} {
		path := filepath.Join(dir, name)
		old, err := os.ReadFile(path)
		if err == nil && s.Written[name] != digest(old) {
			edited = append(edited, path)
			continue
		}
		if err := replaceFile(path, text); err != nil {
			return nil, err
		}
		s.Written[name] = digest(text)
	}
	return edited, nil
}

func digest(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

func replaceFile(path string, text []byte) error {
	next := path + ".new"
	if err := os.WriteFile(next, text, 0o640); err != nil {
		return fmt.Errorf("demo folder: %w", err)
	}
	if err := os.Rename(next, path); err != nil {
		return fmt.Errorf("demo folder: %w", err)
	}
	return nil
}

// indented is a text as it is shown among others.
func indented(text []byte) string {
	var b strings.Builder
	for line := range strings.Lines(string(text)) {
		b.WriteString("    " + line)
	}
	return b.String()
}
