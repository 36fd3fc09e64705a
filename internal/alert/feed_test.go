package alert

import (
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func newFeed(t *testing.T) (f *Feed, run func() (stop func())) {
	t.Helper()
	f, err := NewFeed("edge-a1", slog.New(slog.NewTextHandler(io.Discard, nil)), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	f.first, f.most = 5*time.Millisecond, 10*time.Millisecond
	return f, func() func() {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { defer close(done); _ = f.Run(ctx) }()
		stop := sync.OnceFunc(func() { cancel(); <-done })
		t.Cleanup(stop)
		return stop
	}
}

func record(i int) Message {
	return Message{Facility: FacilityLogAudit, Severity: SeverityInfo, Time: came, ID: "audit", Text: strconv.Itoa(i)}
}

// TestFeedWaitsForItsReceiver is a local daemon that starts late.
func TestFeedWaitsForItsReceiver(t *testing.T) {
	f, run := newFeed(t)
	f.Send(record(99)) // to nobody
	f.Set("local")
	path := filepath.Join(t.TempDir(), "log")
	f.to.address = path
	run()
	for i := range 20 {
		f.Send(record(i))
	}
	c := listen(t, "unixgram", path)
	for i := range 20 {
		if got := hear(t, c); !strings.HasSuffix(got, " audit - "+strconv.Itoa(i)) {
			t.Fatalf("got %q, want record %d", got, i)
		}
	}
	eventually(t, "all are counted", func() bool { return testutil.ToFloat64(f.sent) == 20 })
	if got := testutil.ToFloat64(f.lost); got != 0 {
		t.Errorf("%v lost", got)
	}
}

func TestFeedNeverBlocksAndCountsWhatIsLost(t *testing.T) {
	f, _ := newFeed(t)
	f.Set("local")
	f.to.address = filepath.Join(t.TempDir(), "nobody")
	for i := range feedQueue + 7 {
		f.Send(record(i))
	}
	if got := testutil.ToFloat64(f.lost); got != 7 {
		t.Errorf("%v lost, want 7", got)
	}
}

func TestFeedSendsTheEndWhenTheNodeStops(t *testing.T) {
	c := listen(t, "udp", "127.0.0.1:0")
	f, run := newFeed(t)
	f.Set(c.LocalAddr().String())
	for i := range 5 {
		f.Send(record(i))
	}
	run()()
	for i := range 5 {
		if got := hear(t, c); !strings.HasSuffix(got, " "+strconv.Itoa(i)) {
			t.Fatalf("got %q, want record %d", got, i)
		}
	}
}

func TestFeedToAnotherReceiver(t *testing.T) {
	first, second := listen(t, "udp", "127.0.0.1:0"), listen(t, "udp", "127.0.0.1:0")
	f, run := newFeed(t)
	run()
	f.Set(first.LocalAddr().String())
	f.Send(record(1))
	if got := hear(t, first); !strings.HasSuffix(got, " "+strconv.Itoa(1)) || !strings.Contains(got, " edge-a1 pharos "+strconv.Itoa(os.Getpid())) {
		t.Errorf("got %q", got)
	}
	f.Set(second.LocalAddr().String())
	f.Send(record(2))
	if got := hear(t, second); !strings.HasSuffix(got, " "+strconv.Itoa(2)) {
		t.Errorf("got %q", got)
	}
	f.Set("")
	f.Send(record(3))
	f.Set(second.LocalAddr().String())
	f.Send(record(4))
	if got := hear(t, second); !strings.HasSuffix(got, " "+strconv.Itoa(4)) {
		t.Errorf("got %q", got)
	}
}
