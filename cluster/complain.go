package cluster

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"github.com/scloudstack/pharos/policy"
)

// refuse logs why a node is not taken in, once a minute for each node and reason.
func (g *Gossip) refuse(name, addr string, err error) {
	g.stats.refused.Add(1)
	g.complain("refused "+name+addr+err.Error(), "gossip: node refused", "node", name, "address", addr, "reason", err)
}

// complain logs a warning, the same one once a minute.
func (g *Gossip) complain(about, msg string, args ...any) {
	now := time.Now()
	g.mu.Lock()
	if len(g.complaints) > 1000 {
		clear(g.complaints)
	}
	again := now.Sub(g.complaints[about]) < complainLast
	if !again {
		g.complaints[about] = now
	}
	g.mu.Unlock()
	if !again {
		g.log.Warn(msg, args...)
	}
}

const wrongKey = "could decrypt" // of memberlist's "No installed keys could decrypt the message"

// explainJoin says why a node could not be joined.
func (g *Gossip) explainJoin(node policy.NodeID, addr string, err error) {
	if strings.Contains(err.Error(), wrongKey) {
		g.complain("key "+addr, "gossip: a node answers with a gossip key that is not installed here: compare the keys_file of both",
			"node", node, "address", addr, "installed", g.prints())
		return
	}
	g.log.Debug("gossip: node not joined", "node", node, "address", addr, "err", err)
}

func (g *Gossip) prints() (out []string) {
	for _, k := range g.keys.list() {
		out = append(out, k.Fingerprint.String())
	}
	return out
}

// logWriter has memberlist's log lines in slog: "[WARN] memberlist: text from=ADDRESS".
type logWriter struct{ g *Gossip }

func (w logWriter) Write(line []byte) (int, error) {
	text := strings.TrimSpace(string(line))
	level, rest, ok := strings.Cut(strings.TrimPrefix(text, "["), "] ")
	if !ok {
		level, rest = "DEBUG", text
	}
	rest = strings.TrimPrefix(rest, "memberlist: ")
	if strings.Contains(rest, wrongKey) {
		_, from, _ := strings.Cut(rest, "from=")
		host, _, _ := strings.Cut(from, ":")
		w.g.complain("key "+host, "gossip: packets are refused that are encrypted with a key that is not installed here: compare the keys_file of both",
			"from", from, "installed", w.g.prints())
		return len(line), nil
	}
	w.g.log.Log(context.Background(), memberlistLevel(level), "memberlist: "+rest)
	return len(line), nil
}

// memberlistLevel is lower by one: what matters of its lines is said by ourselves.
func memberlistLevel(word string) slog.Level {
	switch word {
	case "ERR", "ERROR":
		return slog.LevelInfo
	default:
		return slog.LevelDebug
	}
}
