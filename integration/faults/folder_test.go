package faults

import (
	"os"
	"testing"
	"time"

	"github.com/scloudstack/pharos/integration/lab/lab"
)

// TestFolderSetBack copies a node's data folder, lets the node go on, and puts the copy back: at
// once in contact with the others, and cut off from them, where the node writes records and orders
// anew in the place of those that it forgot. It is noticed, what was ordered since the copy comes
// back from the others, and the node takes part as before, with its own key.
func TestFolderSetBack(t *testing.T) {
	for _, tt := range []struct {
		name   string
		cutOff bool
	}{{"in contact", false}, {"cut off at first", true}} {
		t.Run(tt.name, func(t *testing.T) {
			l := together(t, lab.Default())
			a, b := l.Node("edge-a1"), l.Node("edge-b1")
			do(t, b, "override", "set", "shop.example", "198.18.1.1", "--unlisted", "--reason", "before the copy")
			b.Stop()
			copied := t.TempDir()
			if err := os.CopyFS(copied, os.DirFS(b.DataDir())); err != nil {
				t.Fatal(err)
			}
			b.Start()
			l.Eventually(20*time.Second, calm(l))
			do(t, b, "override", "set", steered, "198.18.1.2", "--unlisted", "--reason", "after the copy")
			do(t, b, "override", "clear", "shop.example", "--reason", "after the copy")
			l.Eventually(5*time.Second, agree(l))
			b.Stop()
			b.EmptyDataDir()
			if err := os.CopyFS(b.DataDir(), os.DirFS(copied)); err != nil {
				t.Fatal(err)
			}
			if tt.cutOff {
				b.Isolate()
			}
			b.Start()
			if tt.cutOff {
				l.Eventually(5*time.Second, l.Answers("shop.example.", "198.18.1.1", b)) // it knows no better
				for range 3 {
					do(t, b, "drain", "endpoint/shop/remote", "--reason", "in ignorance")
					do(t, b, "undrain", "endpoint/shop/remote")
				}
				b.Rejoin()
			}
			l.Eventually(20*time.Second, alarmed(b, "entries/fork/edge-b1", ""))
			l.Eventually(20*time.Second, logged(b, "the data folder was set back"))
			l.Eventually(20*time.Second, l.Answers(steered, "198.18.1.2"))
			l.Eventually(20*time.Second, l.Answers("shop.example.", "203.0.113.10"))
			do(t, b, "override", "set", steered, "198.18.1.3", "--unlisted", "--reason", "its key still counts")
			l.Eventually(5*time.Second, l.Answers(steered, "198.18.1.3"))
			do(t, b, "alarm", "ack", "entries/fork/edge-b1")
			do(t, a, "override", "clear", steered, "--reason", "and it hears others")
			l.Eventually(5*time.Second, l.Answers(steered, "203.0.113.10"))
			l.Eventually(20*time.Second, agree(l))
			l.Eventually(20*time.Second, sameAudit(l))
			verified(t, l)
		})
	}
}
