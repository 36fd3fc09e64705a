package main

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/scloudstack/pharos/internal/api"
	"github.com/scloudstack/pharos/internal/config"
)

// folder is the data folder that is meant, and whether anybody said so.
func (a *app) folder() (path string, said bool) {
	if a.dataDir != "" {
		return a.dataDir, true
	}
	if dir := a.getenv("PHAROS_DATA_DIR"); dir != "" {
		return dir, true
	}
	return config.DefaultDataDir, false
}

// nodeFolder is the data folder of the node that is meant. A demo's folder
// holds one for each of its nodes, by their names.
func (a *app) nodeFolder() (string, error) {
	dir, _ := a.folder()
	if a.node == "" {
		if nodes := nodesIn(dir); len(nodes) > 0 && !exists(api.SocketPath(dir)) {
			return filepath.Join(dir, nodes[0]), nil
		}
		return dir, nil
	}
	if a.node != filepath.Base(a.node) || strings.HasPrefix(a.node, ".") {
		return "", usagef("--node %q is no node's name", a.node)
	}
	if own := filepath.Join(dir, a.node); exists(own) {
		return own, nil
	}
	if nodes := nodesIn(dir); len(nodes) > 0 {
		return "", usagef("--node %s: %s holds the nodes %s", a.node, dir, strings.Join(nodes, ", "))
	}
	return dir, nil
}

// nodesIn lists the nodes whose data folders stand in a folder, by name.
func nodesIn(dir string) []string {
	entries, err := os.ReadDir(dir) // sorted
	if err != nil {
		return nil
	}
	var nodes []string
	for _, e := range entries {
		own := filepath.Join(dir, e.Name())
		if e.IsDir() && (exists(api.SocketPath(own)) || exists(filepath.Join(own, keyFile))) {
			nodes = append(nodes, e.Name())
		}
	}
	return nodes
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// demoAround tells whether a demo runs in its default folder.
func demoAround() bool {
	for _, name := range nodesIn(demoFolder()) {
		if exists(api.SocketPath(filepath.Join(demoFolder(), name))) {
			return true
		}
	}
	return false
}
