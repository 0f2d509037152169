package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Each file gets all events, in the format that its ending chooses.
func TestSeveralOutputs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(file("r.jsonl"), []byte(recording()), 0o644); err != nil {
		t.Fatal(err)
	}
	text := tw(t, "replay", file("r.jsonl")).stdout
	if !strings.Contains(text, "exec        7 a 'b c'\n") {
		t.Fatalf("text is\n%s", text)
	}
	r := tw(t, "replay", "-o", file("a.jsonl"), "-o", file("b.txt"), "-o", "-", "-o", file("c"), file("r.jsonl"))
	if r.status != 0 || r.stderr != "" || r.stdout != text {
		t.Errorf("status %d, stderr %q, stdout\n%s", r.status, r.stderr, r.stdout)
	}
	for name, want := range map[string]string{"a.jsonl": recording(), "b.txt": text, "c": text} {
		if got, err := os.ReadFile(file(name)); err != nil || string(got) != want {
			t.Errorf("%s: %v\n%s\nwant\n%s", name, err, got, want)
		}
	}
	if r := tw(t, "replay", "-f", "json", "-o", file("d"), "-o", file("e.txt"), file("r.jsonl")); r.status != 0 {
		t.Errorf("status %d, stderr %q", r.status, r.stderr)
	}
	for name, want := range map[string]string{"d": recording(), "e.txt": text} {
		if got, err := os.ReadFile(file(name)); err != nil || string(got) != want {
			t.Errorf("%s: %v\n%s\nwant\n%s", name, err, got, want)
		}
	}

	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"-f", "json", "-o", file("x.txt")}, "--format json: the ending of"},
		{[]string{"-f", "yaml"}, `--format "yaml": unknown format; choose text or json`},
		{[]string{"-o", file("x"), "-o", file("x")}, "given twice"},
		{[]string{"-o", file("x"), "-o", ""}, "the name of the file is empty"},
	} {
		if r := tw(t, append(append([]string{"replay"}, c.args...), file("r.jsonl"))...); r.status != exitUsage || !strings.Contains(r.stderr, c.want) {
			t.Errorf("%q: status %d, stderr %q, want %q", c.args, r.status, r.stderr, c.want)
		}
	}
	if _, err := os.Stat(file("x")); err == nil {
		t.Error("a wrong command line has made a file")
	}
}
