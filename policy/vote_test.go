package policy

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func genVote(t *rapid.T) Vote {
	digest := func(name string) (d [8]byte) {
		copy(d[:], rapid.SliceOfN(rapid.Byte(), 8, 8).Draw(t, name))
		return d
	}
	v := Vote{
		Suspect: rapid.Bool().Draw(t, "suspect"), Held: rapid.Bool().Draw(t, "held"), Decides: rapid.Bool().Draw(t, "decides"), Mute: rapid.Bool().Draw(t, "mute"),
		Revision: rapid.Uint64().Draw(t, "revision"), Digest: digest("digest"), Config: digest("config"), Zones: digest("zones"),
	}
	copy(v.List[:], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "list"))
	if ms := rapid.Int64Range(0, 1<<45).Draw(t, "unheld"); ms > 0 {
		v.Unheld = time.UnixMilli(ms).UTC()
	}
	n := rapid.IntRange(0, 50).Draw(t, "targets")
	v.States = newStates(n)
	for i := range n {
		v.States.set(i, HealthState(rapid.IntRange(0, 3).Draw(t, "state")))
	}
	return v
}

func TestVoteRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := genVote(t)
		got, err := DecodeVote(EncodeVote(v))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(v, got); diff != "" {
			t.Fatal(diff)
		}
	})
}

// A header that a later release made longer is read as far as it is known.
func TestVoteOfLaterRelease(t *testing.T) {
	v := Vote{Revision: 7, States: newStates(5)}
	v.States.set(4, Down)
	data := EncodeVote(v)
	longer := append([]byte{data[0], 0, voteHeader + 2}, data[3:3+voteHeader]...)
	longer = append(append(longer, 0xff, 0xff), data[3+voteHeader:]...)
	got, err := DecodeVote(longer)
	if err != nil || got.Revision != 7 || got.States.At(4) != Down {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestVoteErrors(t *testing.T) {
	good := EncodeVote(Vote{States: newStates(9)})
	for name, tt := range map[string]struct {
		data []byte
		want string
	}{
		"empty":         {nil, "cut off"},
		"other version": {append([]byte{2}, good[1:]...), "found version 2, expected 1"},
		"short header":  {[]byte{1, 0, 3, 0, 0, 0}, "found a header of 3 octets"},
		"cut":           {good[:len(good)-1], "found 2 octets of states, expected 3"},
		"long":          {append(good[:len(good):len(good)], 0), "found 4 octets of states, expected 3"},
	} {
		if v, err := DecodeVote(tt.data); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %+v, %v, want %q", name, v, err, tt.want)
		}
	}
}

func TestReasonsRoundTrip(t *testing.T) {
	at := time.UnixMilli(1772366400000).UTC()
	list := []Reason{{"a", Down, "503 from 10.1.8.10 after 12 ms", at}, {"b", Up, "", at}, {"c", Down, strings.Repeat("x", 300), at}}
	got, err := DecodeReasons(EncodeReasons(list))
	if err != nil {
		t.Fatal(err)
	}
	list[2].Text = list[2].Text[:maxReasonText]
	if diff := cmp.Diff(list, got); diff != "" {
		t.Error(diff)
	}
	for n := range EncodeReasons(list) {
		if got, err := DecodeReasons(EncodeReasons(list)[:n]); err == nil {
			t.Errorf("%d octets read as %v", n, got)
		}
	}
	if got, _ := DecodeReasons(EncodeReasons(slices.Repeat([]Reason{{"a", Up, "connected", at}}, 100))); len(got) != maxReasons {
		t.Errorf("%d reasons", len(got))
	}
}

// The evidence of what is down comes first, and that of what is up as far as it is short, the newest first.
func TestOwnReasons(t *testing.T) {
	s, now := upState(bigConfig(100)) // 1,000 targets
	for i, id := range []TargetID{s.ix.targets[7].ID, s.ix.targets[9].ID} {
		for range 3 {
			now = now.Add(time.Second)
			Step(s, Observed{{Target: id, At: now, Outcome: Refused, Reason: "refused"}}, now)
		}
		if got := (&turn{State: s}).ownReasons(); len(got) < i+2 || got[0].Target != id || got[i].State != Down || got[i+1].State != Up ||
			got[i+1].Text != "connected" || len(EncodeReasons(got)) > reasonsWithUp {
			t.Errorf("%d octets: %+v", len(EncodeReasons(got)), got)
		}
	}
}

// What a node told of a state that it has left is no evidence of the one that it votes now.
func TestReasonsOfAnotherState(t *testing.T) {
	s, now := trio(t)
	id := s.ix.targets[0].ID
	Step(s, Reasons{"edge-b", []Reason{{id, Up, "200 after 3 ms", now}}}, now)
	hear(s, 1, now, func(st States) { st.set(0, Down) })
	if got := s.told(0); got != "" {
		t.Errorf("down by %q", got)
	}
	if v := s.nodeVote(1, 0); v.Reason != "" || v.State != Down {
		t.Errorf("%+v", v)
	}
	hear(s, 2, now, func(st States) { st.set(0, Up) })
	if v := s.nodeVote(1, 0); v.Reason != "200 after 3 ms" || v.State != Up {
		t.Errorf("%+v", v)
	}
}

func FuzzDecodeVote(f *testing.F) {
	v := Vote{Suspect: true, Revision: 1812, Unheld: time.UnixMilli(1772366400000), States: newStates(6)}
	v.States.set(3, Down)
	f.Add(EncodeVote(v))
	f.Add(EncodeVote(Vote{}))
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := DecodeVote(data)
		if err != nil {
			return
		}
		again, err := DecodeVote(EncodeVote(v))
		if diff := cmp.Diff(v, again); err != nil || diff != "" {
			t.Errorf("%v %s", err, diff)
		}
		_ = v.States.At(len(v.States) * 4)
	})
}

func FuzzDecodeReasons(f *testing.F) {
	f.Add(EncodeReasons([]Reason{{"a", Down, "no answer in 500ms", time.UnixMilli(1772366400000)}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := DecodeReasons(data)
		if err != nil {
			return
		}
		again, err := DecodeReasons(EncodeReasons(list))
		if diff := cmp.Diff(list, again); err != nil || diff != "" {
			t.Errorf("%v %s", err, diff)
		}
	})
}

func FuzzDecodeTargets(f *testing.F) {
	f.Add(EncodeTargets([]TargetID{"http-10.1.8.10", "", TargetID(strings.Repeat("x", 300))}))
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := DecodeTargets(data)
		if err != nil {
			return
		}
		again, err := DecodeTargets(EncodeTargets(list))
		if diff := cmp.Diff(list, again); err != nil || diff != "" {
			t.Errorf("%v %s", err, diff)
		}
	})
}
