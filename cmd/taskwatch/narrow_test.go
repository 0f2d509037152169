package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

// What --where chooses in the kernel is what it chooses here, where a summary
// needs to know of all.
func TestWhereInTheKernel(t *testing.T) {
	testutil.Root(t)
	dir := t.TempDir()
	narrow, wide := filepath.Join(dir, "narrow.jsonl"), filepath.Join(dir, "wide.jsonl")
	where := []string{"--source", "bpf", "--where", fmt.Sprintf(`uid == %d && kind != "gid" && (comm != "nobody" || exit.code > 300)`, stranger), "-e", "clone,exec,exit"}
	watchers := []*watcher{
		startWatch(t, 0, append(slices.Clone(where), "-o", narrow)...),
		// Not of others' storms, which may fill the buffer.
		startWatch(t, 0, append(slices.Clone(where), "-o", wide, "--summary", "--pid", strconv.Itoa(os.Getpid()))...),
	}
	shell := load(t, 20)
	for _, w := range watchers {
		w.stop(t, unix.SIGINT)
	}
	var want []string
	for _, file := range []string{wide, narrow} {
		var got []string
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for _, l := range lines(t, f) {
			if ev := l.Event; ev != nil {
				got = append(got, fmt.Sprint(ev.Kind, " ", ev.Task.PID, ev.Task.PPID, ev.Task.Comm, ev.Task.Exe, ev.Task.Argv, ev.OldExe, ev.Exit, ev.Missing&^taskwatch.FieldParentID))
			} else if l.Loss != nil {
				t.Errorf("%s: %d events were lost", file, l.Loss.Count)
			}
		}
		if file == wide {
			want = got
		} else if !slices.Equal(got, want) {
			t.Errorf("in the kernel:\n%s\nhere:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	if n := len(want); n != 20+21+21 {
		t.Errorf("%d events of the shell %d and its children, want 62", n, shell)
	}
}
