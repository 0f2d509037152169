package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What no node could load is not signed: no module, a parameter that the module does not
// have or cannot have, and what a fleet does not carry.
func TestFleetSignsNothingThatNoNodeLoads(t *testing.T) {
	text := filepath.Join(t.TempDir(), "notes.o")
	if err := os.WriteFile(text, []byte("no module\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args string
		says string // or "", where it is signed
	}{
		{"label", ""},
		{"label children=7 value=job", ""},
		{"execrule program=/bin/true", ""},
		{text, "it is neither a BPF object nor a WebAssembly module"},
		{"label nosuch=1", `it has no parameter "nosuch"; its parameters are children`},
		{"label children=abc", "parameter children=abc: it is of type int"},
		{"label value=" + strings.Repeat("x", 40), "parameter value="},
		{"execrule nosuch=1", `it has no parameter "nosuch"; its parameters are arg`},
		{"execrule errno=x", "parameter errno=x: it is of type"},
		{"label labels=@first.jsonl", "nodes cannot be given the first entries of a map"},
	} {
		var f fleetInsmod
		e, file, err := f.entry(strings.Fields(c.args))
		switch {
		case c.says == "" && (err != nil || e.Module != strings.Fields(c.args)[0] || len(file) == 0):
			t.Errorf("%s: %v", c.args, err)
		case c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)):
			t.Errorf("%s: %v, want an error that says %q", c.args, err, c.says)
		}
	}
}
