package main

import (
	"bytes"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/source/bpf"
	"github.com/taskwatch/taskwatch/source/ptrace"
)

// The command finds what it would find alone, but for what the help says.
func TestCommandFindsWhatItWouldFindAlone(t *testing.T) {
	eachSource(t, testCommandFindsWhatItWouldFindAlone)
}

func testCommandFindsWhatItWouldFindAlone(t *testing.T, source string) {
	dump := testutil.BuildC(t, "testdata/dump.c")
	dir := t.TempDir()
	run := func(before ...string) []string {
		c := exec.Command(dump, append(append([]string{"set"}, before...), dump, "a", "", "b c\n")...)
		c.Dir = dir
		var stdout, stderr bytes.Buffer
		c.Stdout, c.Stderr = &stdout, &stderr
		if err := c.Run(); err != nil {
			t.Fatalf("%v: %v; %s", c.Args, err, stderr.String())
		}
		return strings.Split(stdout.String(), "\n")
	}
	// Alone the command has the peak memory of this test.
	differs := []string{"maxrss "}
	if source == ptrace.Name {
		differs = append(differs, "TracerPid:", "Seccomp:", "NoNewPrivs:")
	}
	if source != ptrace.Name && (source != bpf.Name || !testutil.NeedsKernel(6, 16).Met()) {
		differs = append(differs, "parent's death ") // else the command would outlive taskwatch
	}
	same := func(lines []string) []string {
		return slices.DeleteFunc(lines, func(l string) bool {
			return slices.ContainsFunc(differs, func(p string) bool { return strings.HasPrefix(l, p) })
		})
	}
	bare, watched := run(), run(splitSource([]string{binary(t), "run", "--source", source, "-o", "/dev/null", "--"})...)
	if !slices.Contains(watched, "maxrss its own") {
		t.Error("the command's peak memory is another's")
	}
	bare, watched = same(bare), same(watched)
	if len(bare) < 60 {
		t.Fatalf("the command has found no more than %q", bare)
	}
	for i := range max(len(bare), len(watched)) {
		var b, w string
		if i < len(bare) {
			b = bare[i]
		}
		if i < len(watched) {
			w = watched[i]
		}
		if b != w {
			t.Errorf("alone it finds %q, watched %q", b, w)
		}
	}
}
