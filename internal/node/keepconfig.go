package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/scloudstack/pharos/internal/api"
	"github.com/scloudstack/pharos/internal/bounded"
	"github.com/scloudstack/pharos/internal/config"
)

// keptFile is where the data folder has a copy of the configuration that was
// last confirmed: the way back of a node that is restarted while, or after, it
// went back from one that was not. A configuration that went back is not
// started again before its files change or a person reloads it.
const keptFile = "configuration.json"

// maxKept is how long it may be: the files of a configuration have 32 MiB at most,
// and take a third more in base64.
const maxKept = 64 << 20

// kept is what the file holds.
type kept struct {
	Main    string    `json:"main"`              // absolute path of the main file
	Files   snapshot  `json:"files"`             // the confirmed configuration
	Refused string    `json:"refused,omitempty"` // digest of the files on the disk that are not to be started with
	Since   time.Time `json:"since"`
}

// recall returns the settings to start with: those given, or the ones that
// were confirmed last where those given are a configuration that went back.
// The time is when it did, or zero.
func (n *Node) recall(given *config.Settings) (*config.Settings, time.Time) {
	path := filepath.Join(given.DataDir, keptFile)
	onDisk, err := takeSnapshot(given)
	if err != nil {
		n.log.Warn("the configuration is not kept", "error", err)
		return given, time.Time{}
	}
	n.copies = copies{confirmed: onDisk}
	k, err := readKept(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		n.log.Error("the confirmed configuration can't be read", "error", err)
	}
	if err == nil && k.Refused != "" && k.Refused == onDisk.digest() {
		opt := n.opt.Load
		opt.FS = k.Files
		settings, _, err := config.Load(k.Main, opt)
		if err == nil && settings.DataDir != given.DataDir {
			err = fmt.Errorf("its data_dir is %s, expected %s, which holds it", settings.DataDir, given.DataDir)
		}
		if err == nil {
			n.log.Warn("the configuration on the disk was not confirmed: the node starts with the one before", "config", given.Path, "since", k.Since)
			settings.Path = given.Path
			n.copies = copies{confirmed: k.Files, refused: k.Refused}
			return settings, k.Since
		}
		n.log.Error("the confirmed configuration can't be loaded: the node starts with what is on the disk", "error", err)
	}
	if err := n.writeKept(path); err != nil {
		n.log.Warn("the configuration is not kept", "error", err)
	}
	return given, time.Time{}
}

// copies are the texts of configurations, in memory. Whoever may load owns them.
type copies struct {
	confirmed snapshot
	refused   string // digest of the one on trial, or that went back
}

// keepConfig notes on the disk what a restart is to start with, after a reload
// or a confirmation.
func (n *Node) keepConfig() error {
	s := n.situation().running.settings
	running, err := takeSnapshot(s)
	if err != nil {
		return err
	}
	if n.trial.before != nil {
		n.copies.refused = running.digest()
	} else {
		n.copies = copies{confirmed: running}
	}
	return n.writeKept(filepath.Join(s.DataDir, keptFile))
}

// markTrial notes on the disk that a configuration is not to be started with,
// before it is tried: it may be what ends the process. Where that can't be kept
// there is no trial, unless orders may be volatile too; then keepConfig, which
// writes the same again, tells of it.
func (n *Node) markTrial(next *deployment) error {
	err := n.disk.State().hangs()
	if err == nil {
		var files snapshot
		if files, err = takeSnapshot(next.settings); err == nil {
			n.copies.refused = files.digest()
			err = n.writeKept(filepath.Join(next.settings.DataDir, keptFile))
		}
	}
	switch {
	case err == nil:
	case n.opt.Volatile:
		n.log.Warn("the way back is not kept over a restart", "error", err)
	default:
		return fmt.Errorf("%w: not loaded on trial, since the way back would be lost by a restart: %w; "+
			"mend the disk, reload without --confirm, or start the node with --volatile", api.ErrDegraded, err)
	}
	return nil
}

// unmarkTrial goes back to what was noted before, where that was something else.
func (n *Node) unmarkTrial(before copies) {
	if n.copies.refused == before.refused {
		return
	}
	n.copies = before
	if err := n.writeKept(filepath.Join(n.situation().running.settings.DataDir, keptFile)); err != nil {
		n.log.Warn("a restart may not start with the configuration on the disk", "error", err)
	}
}

func (n *Node) writeKept(path string) error {
	main, err := filepath.Abs(n.mainFile)
	if err != nil {
		return err
	}
	text, err := json.Marshal(kept{Main: main, Files: n.copies.confirmed, Refused: n.copies.refused, Since: clock()})
	if err != nil {
		return err
	}
	return writeFile(path, text)
}

func readKept(path string) (kept, error) {
	var k kept
	text, err := bounded.ReadFile(path, maxKept, 0)
	if err != nil {
		return k, err
	}
	if err := json.Unmarshal(text, &k); err != nil {
		return k, fmt.Errorf("%s: %w", path, err)
	}
	return k, nil
}

// writeFile puts the text in the place of the file as one step, and has it on
// the disk when it returns.
func writeFile(path string, text []byte) error {
	temp := path + ".new"
	f, err := bounded.Open(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err == nil {
		err = syncFolder(filepath.Dir(path))
	}
	if err != nil {
		os.Remove(temp)
		return fmt.Errorf("keep %s: %w", path, err)
	}
	return nil
}
