package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/scloudstack/pharos/internal/api"
	"github.com/scloudstack/pharos/internal/node"
	"github.com/scloudstack/pharos/policy"
)

// keyFile is where a node keeps its own key, in its data folder.
const keyFile = "node.key"

func (a *app) keyCmd() *cobra.Command {
	return groupOf(&cobra.Command{
		Use:   "key",
		Short: "Make and show a node's own key",
		Long: `Each node signs what it says with a key of its own. The private half stays in
the node's data folder; the public half stands in the configuration of all nodes,
under nodes. A node without a key makes one at its first start.`,
		Example: `  pharos cluster key new
  pharos cluster key show --data-dir /var/lib/pharos`,
	}, a.keyNewCmd(), a.keyShowCmd())
}

func (a *app) keyNewCmd() *cobra.Command {
	return a.identityCmd(&cobra.Command{
		Use:   "new",
		Short: "Make this node's key, and print its public half",
		Long: `Writes ` + keyFile + ` into the data folder, readable by the folder's owner only. A key
that is there is never replaced: what was signed with it would count no more.`,
		Example: `  pharos cluster key new
  pharos cluster key new --file /etc/pharos/edge-a1.key`,
	}, func(path string) (ed25519.PrivateKey, error) {
		key, err := node.MakeIdentity(path)
		if errors.Is(err, fs.ErrExist) {
			err = fmt.Errorf("%w: it is not replaced; 'pharos cluster key show' prints its public half", err)
		}
		return key, err
	})
}

func (a *app) keyShowCmd() *cobra.Command {
	return a.identityCmd(&cobra.Command{
		Use:   "show",
		Short: "Print the public half of this node's key",
		Example: `  pharos cluster key show
  pharos cluster key show --data-dir /var/lib/pharos`,
	}, func(path string) (ed25519.PrivateKey, error) {
		key, err := node.LoadIdentity(path)
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w; the node makes one at its first start, 'pharos cluster key new' does so now", err)
		}
		return key, err
	})
}

// identityCmd is a command that gets a node's key, of this machine, and prints
// its public half.
func (a *app) identityCmd(cmd *cobra.Command, get func(path string) (ed25519.PrivateKey, error)) *cobra.Command {
	var file string
	cmd.Args = cobra.NoArgs
	cmd.RunE = func(*cobra.Command, []string) error {
		if a.remote.URL != "" || a.socket != "" {
			return usagef("a key is made and shown on the node's machine: --data-dir names its folder")
		}
		if file == "" {
			dir, err := a.nodeFolder()
			if err != nil {
				return err
			}
			file = filepath.Join(dir, keyFile)
		}
		key, err := get(file)
		if err != nil {
			return err
		}
		public := node.PublicText(key.Public().(ed25519.PublicKey))
		return a.show(map[string]string{"file": file, "public_key": public}, func(p *page) { p.linef("%s", public) })
	}
	cmd.Flags().StringVar(&file, "file", "", "the key's `file`, as node.key_file (default "+keyFile+" in the data folder)")
	return cmd
}

func (a *app) keysCmd() *cobra.Command {
	return groupOf(&cobra.Command{
		Use:   "keys",
		Short: "Rotate the keys that gossip is encrypted with",
		Long: `The keys stand in cluster.keys_file, one in base64 a line; the first is sent
with, all are taken. They never travel: put a new one into each node's file
yourself, as the last line; then 'add' has every node read its file, 'use' has
every node send with the new key, and 'remove' ends the old one. 'use' and
'remove' are refused until every configured node that is not declared lost has
confirmed. Keys are named by the beginning of their SHA-256. Needs the role admin.`,
		Example: `  pharos cluster keys new
  pharos cluster keys add
  pharos cluster keys use 3f9a2c1b
  pharos cluster keys remove 77d0e1aa`,
	}, a.keysNewCmd(), a.keysListCmd(), a.keysAddCmd(),
		a.keysMoveCmd("use", "Have every node send with a key", (*api.Client).UseGossipKey),
		a.keysMoveCmd("remove", "Have every node forget a key", (*api.Client).RemoveGossipKey))
}

func (a *app) keysNewCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "new",
		Short: "Print a fresh gossip key, for a line of cluster.keys_file",
		Long: `Prints the key in base64 on standard output, and on standard error the
fingerprint that names it. Nothing is stored.`,
		Example: `  (umask 077; pharos cluster keys new >> /etc/pharos/gossip.keys)`,
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			key, fingerprint := node.NewGossipKey()
			if a.output == "text" {
				fmt.Fprintf(a.err, "fingerprint %s; the same line goes into cluster.keys_file of every node\n", fingerprint)
			}
			return a.show(map[string]string{"key": key, "fingerprint": fingerprint}, func(p *page) { p.linef("%s", key) })
		},
	}
}

func (a *app) keysListCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List which node has which gossip key",
		Example: `  pharos cluster keys list
  pharos cluster keys list -o json | jq '.keys[] | select(.missing)'`,
		Args: cobra.NoArgs,
		RunE: a.withNode(func(ctx context.Context, c *api.Client) error {
			k, err := c.GossipKeys(ctx)
			if err != nil {
				return err
			}
			return a.show(k, func(p *page) { p.gossipKeys(k) })
		}),
	}
}

func (a *app) keysAddCmd() *cobra.Command {
	return &cobra.Command{
		Use:     "add",
		Short:   "Have every node read its keys_file again, and compare",
		Example: `  pharos cluster keys add`,
		Args:    cobra.NoArgs,
		RunE: a.withNode(func(ctx context.Context, c *api.Client) error {
			k, err := c.AddGossipKeys(ctx)
			if err != nil {
				return err
			}
			return a.keysTurned(k, unconfirmed(k))
		}),
	}
}

func (a *app) keysMoveCmd(verb, short string, move func(*api.Client, context.Context, string) (api.GossipKeys, error)) *cobra.Command {
	return &cobra.Command{
		Use:     verb + " FINGERPRINT",
		Short:   short,
		Long:    short + ".\nThe beginning of a fingerprint suffices where only one key has it.",
		Example: "  pharos cluster keys " + verb + " 3f9a2c1b",
		Args:    exactly("FINGERPRINT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.ask(cmd.Context(), func(ctx context.Context, c *api.Client) error {
				k, err := c.GossipKeys(ctx)
				if err != nil {
					return err
				}
				fingerprint, err := findKey(k, strings.ToLower(args[0]))
				if err != nil {
					return err
				}
				if k, err = move(c, ctx, fingerprint); err != nil {
					return err
				}
				return a.keysTurned(k, "")
			})
		},
	}
}

// keysTurned shows who has which key after a step that was stored. The error is that it was done in part.
func (a *app) keysTurned(k api.GossipKeys, lacks string) error {
	if err := a.show(k, func(p *page) { p.gossipKeys(k) }); err != nil {
		return err
	}
	if text := strings.Join(slices.DeleteFunc([]string{k.Partial, lacks}, func(s string) bool { return s == "" }), "; "); text != "" {
		return &partError{text}
	}
	return nil
}

// findKey is the one key whose fingerprint begins as typed.
func findKey(k api.GossipKeys, typed string) (string, error) {
	var all, found []string
	for _, key := range k.Keys {
		all = append(all, key.Fingerprint)
		if strings.HasPrefix(key.Fingerprint, typed) {
			found = append(found, key.Fingerprint)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return "", usagef("%s begins several fingerprints: %s", typed, strings.Join(found, ", "))
	case len(all) == 0:
		return "", fmt.Errorf("no key %s: no node tells of any gossip key", typed)
	}
	return "", fmt.Errorf("no key %s: there are %s", typed, strings.Join(all, ", "))
}

// unconfirmed says which nodes lack a key that others have; "": none.
func unconfirmed(k api.GossipKeys) string {
	var lacks []string
	for _, key := range k.Keys {
		for _, name := range key.Missing {
			lacks = append(lacks, fmt.Sprintf("%s has not confirmed %s", name, key.Fingerprint))
		}
	}
	return strings.Join(lacks, ", ")
}

func (p *page) gossipKeys(k api.GossipKeys) {
	keys := &table{}
	keys.head("KEY", "SENT WITH BY", "")
	for _, key := range k.Keys {
		state := cs(green, "every node takes it")
		switch {
		case len(key.Missing) > 0:
			state = cs(yellow, "not confirmed by "+nodeNames(key.Missing))
		case len(key.Unwritten) > 0:
			state = cs(yellow, "in no keys_file on "+nodeNames(key.Unwritten)+": a restart there loses it")
		}
		keys.add(c(key.Fingerprint), c(or(nodeNames(key.Sends), "nobody")), state)
	}
	if len(k.Keys) == 0 {
		p.linef("No gossip keys.")
	} else {
		p.table(keys)
	}
	p.heading("NODES")
	nodes := &table{indent: "  "}
	nodes.head("NODE", "SITE", "KEYS")
	for _, n := range k.Nodes {
		nodes.add(c(string(n.Node)), c(string(n.Site)), nodeKeys(n))
	}
	p.table(nodes)
}

// nodeKeys is what a node does with each of its keys.
func nodeKeys(n api.NodeKeys) cell {
	switch {
	case n.Lost:
		return cs(dim, "its site is declared lost: nobody waits for it")
	case n.Problem != "":
		return cs(yellow, n.Problem)
	}
	var all []string
	for _, k := range n.Keys {
		word := short(k.Fingerprint)
		switch {
		case k.Sends && !k.First:
			word += " (sends, but not after a restart: it is not first in the keys_file)"
		case k.Sends:
			word += " (sends)"
		case !k.Taken:
			word += " (in the keys_file, not read yet)"
		case k.First:
			word += " (first in the keys_file)"
		}
		all = append(all, word)
	}
	if n.Unread {
		return cs(yellow, strings.Join(append(all, "its keys_file could not be read: see its alarm gossip-keys"), " · "))
	}
	return c(strings.Join(all, " · "))
}

func nodeNames(nodes []policy.NodeID) string {
	words := make([]string, len(nodes))
	for i, n := range nodes {
		words[i] = string(n)
	}
	return strings.Join(words, ", ")
}

func sortedKinds(of map[policy.Kind]int) []policy.Kind { return slices.Sorted(maps.Keys(of)) }
