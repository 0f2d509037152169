package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// People who look for the hub here get it, if it is installed, and else are told what it is
// called.
func TestHubCommand(t *testing.T) {
	dir := t.TempDir()
	ask := func() result {
		c := cmd(t, "hub", "--dir", "a b", "enroll")
		c.Env = append(os.Environ(), "PATH="+dir)
		return finish(t, c)
	}
	if r := ask(); r.status != exitFailed || !strings.Contains(r.stderr, "is a program of its own, taskwatch-hub, and is not in $PATH") {
		t.Errorf("without it: %+v", r)
	}
	if err := os.WriteFile(filepath.Join(dir, hubProgram), []byte("#!/bin/sh\necho \"$@\"\nexit 7\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if r := ask(); r.status != 7 || r.stdout != "--dir a b enroll\n" {
		t.Errorf("with it: %+v", r)
	}
}
