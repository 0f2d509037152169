package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

// A release sets version, commit and time; the rest comes from the build.
func TestVersion(t *testing.T) {
	c := cmd(t, "version", "-f", "json")
	var got buildFacts
	if r := finish(t, c); r.status != 0 || json.Unmarshal([]byte(r.stdout), &got) != nil {
		t.Fatalf("%+v", r)
	}
	if got.Go != runtime.Version() || got.Platform != runtime.GOOS+"/"+runtime.GOARCH || got.Version == "" {
		t.Errorf("%+v", got)
	}
	for _, name := range []string{"bpf", "connector", "ptrace", "replay"} {
		if !slices.Contains(got.Sources, name) {
			t.Errorf("the source %s is not built in: %q", name, got.Sources)
		}
	}
	if r := tw(t, "version"); !strings.HasPrefix(r.stdout, "version:       "+got.Version+"\n") {
		t.Errorf("%+v", r)
	}

	testutil.Long(t)
	tool := testutil.RequireTool(t, "go")
	program := filepath.Join(t.TempDir(), "taskwatch")
	build := exec.Command(tool, "build", "-buildvcs=false", "-ldflags=-s -w -X main.releaseVersion=v9.8.7 -X main.releaseCommit=abc -X main.releaseTime=2026-01-02T03:04:05Z", "-o", program, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := exec.Command(program, "version").Output()
	if err != nil || !strings.HasPrefix(string(out), "version:       v9.8.7\ncommit:        abc\ntime:          2026-01-02T03:04:05Z\n") {
		t.Errorf("%v\n%s", err, out)
	}
	dir := t.TempDir()
	if out, err := exec.Command(program, "man", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if page := readFile(t, filepath.Join(dir, "taskwatch.1")); !strings.Contains(string(page), `"Jan 2026"`) {
		t.Errorf("the man page is not of the time of the commit:\n%.300s", page)
	}
}

// A version that cannot be written is said once.
func TestVersionUnwritable(t *testing.T) {
	for _, args := range [][]string{{"--version"}, {"version"}} {
		full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer full.Close()
		var messages strings.Builder
		c := exec.Command(binary(t), args...)
		c.Stdout, c.Stderr = full, &messages
		if err := c.Run(); c.ProcessState.ExitCode() != exitFailed || strings.Count(messages.String(), "\n") != 1 || !strings.Contains(messages.String(), "no space left") {
			t.Errorf("%q: %v, %q", args, err, messages.String())
		}
	}
}
