package main

import (
	"path/filepath"
	"strings"
	"testing"
)

// What cannot be is said in one line, with what to do.
func TestUIErrors(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "e.jsonl")
	taken(t, file)
	for _, c := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"ui", "--socket", filepath.Join(dir, "none")}, 1, "no daemon serves " + filepath.Join(dir, "none") + "; start one with 'taskwatch serve'"},
		{[]string{"ui", filepath.Join(dir, "none")}, 1, `recording "` + filepath.Join(dir, "none") + `": no such file`},
		{[]string{"ui", "-"}, 1, `recording "-": no such file`},
		{[]string{"ui", "--addr", "0.0.0.0:80", file}, 1, `--addr: address "0.0.0.0:80": only the loopback interface is allowed`},
		{[]string{"ui", "--addr", "8080", file}, 1, `--addr: address "8080": give a host and a port`},
		{[]string{"ui", "--socket", "s", file}, 2, "--socket: it is about the daemon"},
		{[]string{"ui", "--fields", "nosuch"}, 2, "--fields nosuch: "},
		{[]string{"ui", "--fields", ""}, 2, "--fields: no field given"},
		{[]string{"ui", file, file}, 2, "2 files given"},
	} {
		r := finish(t, cmd(t, c.args...))
		if r.status != c.status || !strings.HasPrefix(r.stderr, "taskwatch: "+c.want) || r.stdout != "" {
			t.Errorf("%q: status %d, want %d; it says %q, want %q", c.args, r.status, c.status, r.stderr, c.want)
		}
	}
}
