package demo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// makeKeys makes what the nodes need to trust one another, where it is not there
// yet: gossip keys, and a key for each node. It returns the nodes' public keys.
func (d *Demo) makeKeys(ctx context.Context) (map[string]string, error) {
	path := filepath.Join(d.Dir, keysFile)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		key, err := d.pharos(ctx, "cluster", "keys", "new")
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(path, []byte(key+"\n"), 0o600); err != nil {
			return nil, fmt.Errorf("demo folder: %w", err)
		}
	}
	public := map[string]string{}
	for _, s := range sites {
		dir := d.nodeDir(s.node)
		if err := os.MkdirAll(dir, 0o750); err != nil {
			return nil, fmt.Errorf("demo folder: %w", err)
		}
		verb := "show"
		if _, err := os.Stat(filepath.Join(dir, "node.key")); errors.Is(err, fs.ErrNotExist) {
			verb = "new"
		}
		key, err := d.pharos(ctx, "cluster", "key", verb, "--data-dir", dir)
		if err != nil {
			return nil, err
		}
		public[s.node] = key
	}
	return public, nil
}

// pharos runs a command that needs no node, and returns what it prints.
func (d *Demo) pharos(ctx context.Context, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, d.Program, args...).Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, strings.TrimSpace(string(exit.Stderr)))
		}
		return "", fmt.Errorf("pharos %s: %w", strings.Join(args, " "), err)
	}
	return strings.TrimSpace(string(out)), nil
}

// nodeDir is a node's own folder.
func (d *Demo) nodeDir(node string) string { return filepath.Join(d.Dir, node) }
