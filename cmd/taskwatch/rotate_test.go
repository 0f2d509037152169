package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

// A recording that others rotate while it is written is complete: each file is a
// recording of its own, and the numbers of all lines in all files have no hole.
// Somebody is said nothing, and sends no signal.
func TestRotatedByOthers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		rotate func(t *testing.T, file string, n int)
	}{
		{"rename", func(t *testing.T, file string, n int) {
			if err := os.Rename(file, fmt.Sprintf("%s.%d", file, n)); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, nil, 0o600); err != nil && !errors.Is(err, os.ErrExist) {
				t.Fatal(err)
			}
		}},
		{"logrotate", func(t *testing.T, file string, _ int) {
			conf, state := filepath.Join(filepath.Dir(file), "conf"), filepath.Join(filepath.Dir(file), "state")
			text := fmt.Sprintf("%q {\n\trotate 1000\n\tcreate 0600\n}\n", file)
			if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command(testutil.RequireTool(t, "logrotate"), "-f", "-s", state, conf).CombinedOutput(); err != nil || len(out) > 0 {
				t.Fatalf("logrotate: %v\n%s", err, out)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.name == "logrotate" {
				testutil.RequireTool(t, "logrotate")
			}
			dir := t.TempDir()
			file, stop := filepath.Join(dir, "events.jsonl"), filepath.Join(dir, "stop")
			run := cmd(t, "run", "--source", "ptrace", "-o", file, "--", "sh", "-c", "while [ ! -e "+stop+" ]; do /bin/true; done")
			var stderr bytes.Buffer
			run.Stderr = &stderr
			if err := run.Start(); err != nil {
				t.Fatal(err)
			}
			rotations := testutil.Size(5, 20, 100)
			for n := range rotations {
				eventually(t, "something is in the file", func() bool {
					st, err := os.Stat(file)
					return err == nil && st.Size() > 10_000
				})
				c.rotate(t, file, n+1)
			}
			if err := os.WriteFile(stop, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := run.Wait(); err != nil || stderr.Len() > 0 {
				t.Fatalf("%v\n%s", err, stderr.String())
			}
			files, err := filepath.Glob(file + "*")
			if err != nil || len(files) != rotations+1 {
				t.Fatalf("%d files, %v", len(files), err)
			}
			var seqs []uint64
			for _, name := range files {
				items := lines(t, bytes.NewReader(readFile(t, name)))
				if len(items) < 2 || items[0].Start == nil {
					t.Fatalf("%s does not begin with a start", name)
				}
				for i, it := range items[1:] {
					if it.Event == nil {
						t.Fatalf("%s: item %d is %+v", name, i+1, it)
					}
					seqs = append(seqs, it.Event.Seq)
				}
				if r := tw(t, "replay", "-o", "/dev/null", name); r.status != 0 || r.stderr != "" {
					t.Errorf("replay %s: status %d, %s", name, r.status, r.stderr)
				}
			}
			slices.Sort(seqs)
			for i, seq := range seqs {
				if seq != uint64(i+1) {
					t.Fatalf("event %d is in the place of event %d, of %d", seq, i+1, len(seqs))
				}
			}
		})
	}
}

// A file of lines is left when others rename it, whatever its format is, and no
// line is missing or there twice.
func TestEveryFormatIsRotated(t *testing.T) {
	t.Parallel()
	const commands = 200
	for _, name := range []string{"events.jsonl", "events.txt", "events.csv", "events.sh"} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), name)
			// Each command has an argument of its own; one of them renames the file.
			script := fmt.Sprintf("for i in $(seq %d); do /bin/true number=$i.; [ $i != 100 ] || { mv %[2]s %[2]s.old; : >%[2]s; }; done", commands, file)
			run := cmd(t, "run", "--source", "ptrace", "-e", "exec", "-o", file, "--", "sh", "-c", script)
			if out, err := run.CombinedOutput(); err != nil || len(out) > 0 {
				t.Fatalf("%v\n%s", err, out)
			}
			old, now := readFile(t, file+".old"), readFile(t, file)
			for i := range commands {
				argument := fmt.Appendf(nil, "number=%d.", i+1)
				if n := bytes.Count(old, argument) + bytes.Count(now, argument); n != 1 {
					t.Errorf("%s is there %d times", argument, n)
				}
			}
			if !bytes.Contains(now, fmt.Appendf(nil, "number=%d.", commands)) {
				t.Errorf("%s was not followed", name)
			}
		})
	}
}
