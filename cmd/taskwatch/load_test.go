package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

// loadKinds are the kinds that everybody of the load watches, so that the numbers
// of each log and each stream have no holes.
var loadKinds = []string{"clone", "exec", "uid", "gid", "exit"}

// tally is what a log or a stream has said, line by line.
type tally struct {
	mu        sync.Mutex
	name      string
	next      uint64 // the number that is due
	lines     uint64
	lost      uint64
	reported  uint64 // events of the storms
	errors    []string
	starts    int
	instances int // ends
}

func (c *tally) fail(format string, args ...any) {
	if len(c.errors) < 10 {
		c.errors = append(c.errors, c.name+": "+fmt.Sprintf(format, args...))
	}
}

// number returns the value of a key of a line, which stands before all text.
func number(line []byte, key string) uint64 {
	_, rest, _ := bytes.Cut(line, []byte(key))
	end := bytes.IndexAny(rest, ",}")
	n, _ := strconv.ParseUint(string(rest[:max(end, 0)]), 10, 64)
	return n
}

// take checks one line: it is whole, and its number follows.
func (c *tally) take(line []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	kind, whole := bytes.CutPrefix(line, []byte(`{"event":"`))
	if !whole || !bytes.HasSuffix(line, []byte("}\n")) {
		c.fail("a torn line: %.200q", line)
		return
	}
	kind, _, _ = bytes.Cut(kind, []byte(`"`))
	n := uint64(1)
	switch string(kind) {
	case "start":
		c.starts++
		return
	case "end":
		c.instances++
		return
	case "lost":
		if n = number(line, `"count":`); n == 0 {
			c.fail("a loss without a count: %s", line)
		}
		c.lost += n
	default:
		if storm(string(kind), line) {
			c.reported++
		}
	}
	c.lines++
	seq := number(line, `"seq":`)
	if c.next != 0 && seq != c.next {
		c.fail("number %d is in the place of %d: %.300s", seq, c.next, line)
	}
	c.next = seq + n
}

// storm reports whether an event is one of those that the storms count: a child's
// clone, its exec if it has one, and its exit.
func storm(kind string, line []byte) bool {
	leaf := bytes.Contains(line, []byte(`"comm":"twload"`)) && bytes.Contains(line, []byte(`"leaf"]`))
	child := bytes.Contains(line, []byte(`"comm":"twstorm"`))
	switch kind {
	case "clone":
		return child
	case "exec":
		return leaf
	}
	return kind == "exit" && (child || leaf)
}

func (c *tally) read(r io.Reader) error {
	for lines := bufio.NewReaderSize(r, 1<<20); ; {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			c.take(line)
		}
		if err != nil {
			return err
		}
	}
}

// seen returns the storms' events that were reported, and the items that were
// reported as lost.
func (c *tally) seen() (reported, lost uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reported, c.lost
}

// loadTime is how long the load lasts.
func loadTime(t *testing.T) time.Duration {
	if text := os.Getenv("TASKWATCH_LOAD"); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil {
			t.Fatalf("TASKWATCH_LOAD: %v", err)
		}
		return d
	}
	return time.Duration(testutil.Size(0, 12, 60)) * time.Second
}

func rss(t *testing.T, pid int) (kib int) {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, line, _ := strings.Cut(string(b), "VmRSS:")
	if _, err := fmt.Sscan(line, &kib); err != nil {
		t.Fatal(err)
	}
	return kib
}

// every calls a function again and again until ctx ends or the test has failed.
func every(ctx context.Context, t *testing.T, wg *sync.WaitGroup, period time.Duration, f func()) {
	wg.Go(func() {
		tick := time.NewTicker(period)
		defer tick.Stop()
		for !t.Failed() {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				f()
			}
		}
	})
}

// A daemon works for long on a busy machine: four storms of forks, 10,000 tasks
// that live, three modules, two streams, a log that is rotated every ten seconds,
// a module that comes and goes every second, and SIGHUP every five. Its memory does
// not grow, all files and streams are complete and in order, and what they report
// and what they report as lost is together what has happened.
func TestServeUnderLoad(t *testing.T) {
	testutil.Root(t)
	testutil.Long(t)
	during := loadTime(t)
	program := testutil.BuildC(t, "testdata/twload.c")
	dir := t.TempDir()
	file, config := filepath.Join(dir, "events.jsonl"), filepath.Join(dir, "taskwatch.toml")
	text := fmt.Sprintf("[[log]]\nfile = %q\nevents = [\"%s\"]\nmax_age = \"%v\"\n", file, strings.Join(loadKinds, `", "`), min(10*time.Second, during/4))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	// Not by startServe: it would be ended before its time.
	s := &server{socket: filepath.Join(dir, "s")}
	s.cmd = exec.Command(binary(t), "serve", "--socket", s.socket, "--config", config, "--source", "bpf")
	s.begin(t)
	eventually(t, "the log is written", s.log.Has("writing a log"))
	s.must(t, "insmod", "acct")
	s.must(t, "insmod", "--allow-observe-only", "execrule")
	s.must(t, "insmod", "--name", "second", "acct")

	log := &tally{name: "the log"}
	seen := []*tally{log}
	var streams sync.WaitGroup
	for n := range 2 {
		c := &tally{name: fmt.Sprint("stream ", n)}
		seen = append(seen, c)
		client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", s.socket)
		}}}
		t.Cleanup(client.CloseIdleConnections)
		resp, err := client.Get("http://daemon/events?events=" + strings.Join(loadKinds, ","))
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%v, %v", resp, err)
		}
		streams.Go(func() {
			defer resp.Body.Close()
			_ = c.read(resp.Body) // until the daemon ends
		})
	}
	tasks, _ := testutil.Hold(t, exec.Command(program, "tasks", "10000"))
	storms, outs := make([]*exec.Cmd, 4), make([]bytes.Buffer, 4)
	ends := make([]io.Closer, len(storms))
	for i := range storms {
		storms[i] = exec.Command(program, "storm")
		storms[i].Stdout = &outs[i]
		in, err := storms[i].StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		ends[i] = in
		if err := storms[i].Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if storms[i].ProcessState == nil {
				_ = storms[i].Process.Kill()
				_ = storms[i].Wait()
			}
		})
	}

	rotated := func() {
		names, _ := filepath.Glob(file + ".*")
		slices.Sort(names) // their names have the time
		for _, name := range names {
			readLog(t, log, name)
			if err := os.Remove(name); err != nil {
				t.Error(err)
			}
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), during)
	defer cancel()
	var busy sync.WaitGroup
	var memory []int
	loads, hups, files := 0, 0, 0
	every(ctx, t, &busy, time.Second, func() {
		loads++
		s.must(t, "insmod", "--name", "comes", "acct")
		s.must(t, "rmmod", "comes")
	})
	every(ctx, t, &busy, 5*time.Second, func() {
		hups++
		if err := s.cmd.Process.Signal(unix.SIGHUP); err != nil {
			t.Error(err)
		}
	})
	every(ctx, t, &busy, max(during/100, 100*time.Millisecond), func() { memory = append(memory, rss(t, s.cmd.Process.Pid)) })
	every(ctx, t, &busy, time.Second, rotated)
	busy.Wait()
	var truth uint64
	for i, c := range storms {
		if err := ends[i].Close(); err != nil {
			t.Fatal(err)
		}
		if err := c.Wait(); err != nil {
			t.Fatal(err)
		}
		var forks, execs uint64
		if _, err := fmt.Sscan(outs[i].String(), &forks, &execs); err != nil || execs == 0 {
			t.Fatalf("a storm says %q, %v", outs[i].String(), err)
		}
		truth += 2*forks + execs + 1 // its own exit, too
	}
	tasks.Release(t)
	for _, c := range seen[1:] {
		eventually(t, c.name+" has caught up", func() bool {
			reported, lost := c.seen()
			return reported+lost >= truth
		})
	}
	s.stop(t)
	streams.Wait()
	rotated()
	readLog(t, log, file)
	files = log.starts

	for _, c := range seen {
		reported, lost := c.seen()
		t.Logf("%s: %d lines, %d events of the storms, %d lost; the storms made %d", c.name, c.lines, reported, lost, truth)
		if reported > truth || reported+lost < truth || lost == 0 && reported != truth {
			t.Errorf("%s: %d reported and %d lost, of %d", c.name, reported, lost, truth)
		}
		for _, text := range c.errors {
			t.Error(text)
		}
	}
	// What is loaded and cached in the first quarter stays.
	quarter := len(memory) / 4
	early, late := slices.Max(memory[quarter:2*quarter]), slices.Max(memory[len(memory)-quarter:])
	t.Logf("%v: %d files, %d times insmod and rmmod, %d SIGHUP; at most %d MiB resident in the second quarter, %d MiB in the last",
		during, files, loads, hups, early>>10, late>>10)
	const slack = 32 << 10 // a garbage collection more or less
	if late > early+early/10+slack {
		t.Errorf("the memory grows: %d KiB, then %d KiB", early, late)
	}
	if log.instances != files || files < 4 || loads == 0 || hups == 0 {
		t.Errorf("%d starts and %d ends in the files; %d times insmod, %d SIGHUP", files, log.instances, loads, hups)
	}
}

// readLog reads a file of a log, which begins with a start.
func readLog(t *testing.T, c *tally, name string) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Error(err)
		return
	}
	defer f.Close()
	before := c.starts
	if err := c.read(f); err != io.EOF {
		t.Error(err)
	}
	if c.starts == before {
		t.Errorf("%s has no start", name)
	}
}
