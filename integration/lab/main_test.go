package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/scloudstack/pharos/integration/lab/lab"
)

func TestMain(m *testing.M) {
	lab.RunPart()
	goleak.VerifyTestMain(m)
}

func TestSplit(t *testing.T) {
	for _, tt := range []struct {
		text string
		want []string
	}{
		{"", nil},
		{"  cut   dwdm ", []string{"cut", "dwdm"}},
		{"a --reason 'two words' b", []string{"a", "--reason", "two words", "b"}},
		{"a ''", []string{"a", ""}},
		{"a'b c'd", []string{"ab cd"}},
	} {
		if got, err := split(tt.text); err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%q: %q, %v", tt.text, got, err)
		}
	}
	if _, err := split("a 'b"); err == nil {
		t.Error("an open quote is taken")
	}
}

func TestPlay(t *testing.T) {
	story := func(text string) string {
		file := filepath.Join(t.TempDir(), "story.txt")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	good := story("lab solo silent\ncut dwdm\nshow\nstdout 'dwdm .cut.'\n")
	bad := story("lab solo silent\nexpect answer www.shop.example 192.0.2.1\n")
	if err := play([]string{good}, lab.Default(), false); err != nil {
		t.Error(err)
	}
	if err := play([]string{bad, good}, lab.Default(), false); err == nil || !strings.Contains(err.Error(), "failed") {
		t.Errorf("got %v", err)
	}
}
