package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

// serveLog runs a daemon with a log, and returns the log's file.
func serveLog(t *testing.T, more string) (s *server, file string) {
	t.Helper()
	testutil.Root(t)
	dir := t.TempDir()
	file, config := filepath.Join(dir, "events.jsonl"), filepath.Join(dir, "taskwatch.toml")
	if err := os.WriteFile(config, fmt.Appendf(nil, "[[log]]\nfile = %q\n%s\n", file, more), 0o600); err != nil {
		t.Fatal(err)
	}
	return startServe(t, filepath.Join(dir, "s"), nil, "--config", config), file
}

// SIGHUP has a log go on in the file that has its name, also if nothing is
// written: whoever sends it may work on the old file from then on.
func TestServeLogReopensAtSIGHUP(t *testing.T) {
	s, file := serveLog(t, `where = 'comm == "of no task"'`)
	there := func() bool {
		st, err := os.Stat(file)
		return err == nil && st.Mode() == 0o600 // perhaps with a loss in it, on a busy machine
	}
	for n := range 3 {
		old := fmt.Sprintf("%s.%d", file, n)
		if err := os.Rename(file, old); err != nil {
			t.Fatal(err)
		}
		if err := s.cmd.Process.Signal(unix.SIGHUP); err != nil {
			t.Fatal(err)
		}
		eventually(t, "there is another file", there)
	}
	s.stop(t)
}

// Under a storm logrotate may rotate the daemon's log. With create no item is
// missing, with a signal and without one. With copytruncate items may be, and the
// file that was cut says so.
func TestServeLogFollowsLogrotate(t *testing.T) {
	logrotate := testutil.RequireTool(t, "logrotate")
	for _, how := range []string{"create 0600", "create 0600\n\tpostrotate\n\t\tkill -HUP %d\n\tendscript", "copytruncate"} {
		cut := how == "copytruncate"
		t.Run(how[:6]+map[bool]string{true: " with a signal"}[len(how) > 20], func(t *testing.T) {
			s, file := serveLog(t, `events = ["init", "clone", "exec", "uid", "gid", "exit", "free"]`)
			dir := filepath.Dir(file)
			if len(how) > 20 {
				how = fmt.Sprintf(how, s.cmd.Process.Pid)
			}
			conf, stop := filepath.Join(dir, "conf"), filepath.Join(dir, "stop")
			if err := os.WriteFile(conf, fmt.Appendf(nil, "%q {\n\trotate 1000\n\t%s\n}\n", file, how), 0o600); err != nil {
				t.Fatal(err)
			}
			storm := exec.Command(testutil.RequireTool(t, "sh"), "-c", "while [ ! -e "+stop+" ]; do /bin/true; done")
			if err := storm.Start(); err != nil {
				t.Fatal(err)
			}
			rotations := testutil.Size(3, 10, 100)
			for range rotations {
				eventually(t, "something is in the file", func() bool {
					st, err := os.Stat(file)
					return err == nil && st.Size() > 20_000
				})
				if out, err := exec.Command(logrotate, "-f", "-s", filepath.Join(dir, "state"), conf).CombinedOutput(); err != nil || len(out) > 0 {
					t.Fatalf("logrotate: %v\n%s", err, out)
				}
			}
			eventually(t, "the last file goes on", func() bool {
				st, err := os.Stat(file)
				return err == nil && st.Size() > 20_000
			})
			if err := os.WriteFile(stop, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := storm.Wait(); err != nil {
				t.Fatal(err)
			}
			s.stop(t)
			var seqs []uint64
			losses := 0
			for n := range rotations + 1 {
				name := file
				if n > 0 {
					name = fmt.Sprintf("%s.%d", file, n) // the newest is 1
				}
				text := readFile(t, name)
				if cut { // what was copied may end within a line
					text = text[:bytes.LastIndexByte(text, '\n')+1]
				}
				items := lines(t, bytes.NewReader(text))
				if len(items) < 2 || items[0].Start == nil {
					t.Fatalf("%s does not begin with a start", name)
				}
				if said := items[1].Loss != nil && items[1].Loss.Count == 0; said != (cut && n < rotations) {
					t.Errorf("%s says behind its start that something is lost: %v", name, said)
				}
				for _, it := range items[1:] {
					switch {
					case it.Event != nil:
						seqs = append(seqs, it.Event.Seq)
					case it.Loss != nil:
						losses++
					}
				}
			}
			slices.Sort(seqs)
			for i, seq := range seqs {
				switch {
				case i > 0 && seq == seqs[i-1]:
					t.Fatalf("event %d is there twice", seq)
				case !cut && seq != uint64(i+1):
					t.Fatalf("event %d is in the place of event %d, of %d", seq, i+1, len(seqs))
				}
			}
			if want := map[bool]int{true: rotations}[cut]; losses != want {
				t.Errorf("%d losses, want %d", losses, want)
			}
		})
	}
}
