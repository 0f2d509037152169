package enrich

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestSockets(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"usual", "named"} {
		l, err := net.Listen("unix", at(name))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
	}
	if err := os.WriteFile(at("file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for value, want := range map[string][]string{
		"":                       {at("usual")},
		"unix://" + at("named"):  {at("named"), at("usual")},
		"unix://" + at("none"):   {at("usual")},
		"unix://" + at("file"):   {at("usual")},
		"tcp://192.0.2.1:2375":   {at("usual")},
		"ssh://somebody@machine": {at("usual")},
	} {
		t.Setenv("TASKWATCH_TEST_HOST", value)
		if got := Sockets([]string{at("usual"), at("gone"), at("file")}, "TASKWATCH_TEST_HOST"); !slices.Equal(got, want) {
			t.Errorf("with %q: %v, want %v", value, got, want)
		}
	}
}
