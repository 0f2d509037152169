package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

// startSleep starts a process that lives until the test ends, or end is called.
func startSleep(t *testing.T) (pid string, end func()) {
	t.Helper()
	c := exec.Command("/bin/cat")
	in, err := c.StdinPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	ended := false
	end = func() {
		if !ended {
			ended = true
			in.Close()
			_ = c.Wait()
		}
	}
	t.Cleanup(end)
	return strconv.Itoa(c.Process.Pid), end
}

// Labels are set and read through the daemon, by those who may.
func TestLabel(t *testing.T) {
	testutil.Root(t)
	dir, err := os.MkdirTemp("", "label")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // strangers may come to the socket
		t.Fatal(err)
	}
	const group = 65534
	s := startServe(t, filepath.Join(dir, "s"), nil, "--group", strconv.Itoa(group))
	pid, end := startSleep(t)
	if r := s.tw(t, "label", pid, "job-7"); r.status != exitFailed || !strings.Contains(r.stderr, "taskwatch insmod label") {
		t.Errorf("without the module: %+v", r)
	}
	s.must(t, "insmod", "label")
	s.must(t, "label", pid, "job-7")
	if got := s.must(t, "label", pid); got != pid+" job-7\n" {
		t.Errorf("the label: %q", got)
	}
	const id = "0af7651916cd43dd8448eb211c80319c"
	s.must(t, "label", pid, strings.ToUpper(id))
	for _, args := range [][]string{{"label", "-f", "json"}, {"label", pid, "-f", "json"}} {
		var list labelTable
		if text := s.must(t, args...); json.Unmarshal([]byte(text), &list) != nil || len(list) != 1 || strconv.Itoa(list[0].PID) != pid || list[0].Label != id {
			t.Errorf("%q: %s", args, text)
		}
	}

	// A stranger cannot, even with the right to read: not for a process of its own.
	for _, gid := range []uint32{group, stranger} {
		own := exec.Command("/bin/cat")
		own.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: stranger, Gid: gid}}
		in, err := own.StdinPipe()
		if err == nil {
			err = own.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{{strconv.Itoa(own.Process.Pid), "mine"}, {pid, "mine"}, {pid, "--delete"}} {
			c := cmd(t, append([]string{"label", "--socket", s.socket}, args...)...)
			c.Dir, c.SysProcAttr = "/", &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: stranger, Gid: gid}}
			if r := finish(t, c); r.status != exitFailed || !strings.Contains(r.stderr, fmt.Sprintf("user %d may not", stranger)) {
				t.Errorf("label %q by a stranger of group %d: %+v", args, gid, r)
			}
		}
		in.Close()
		_ = own.Wait()
	}
	if got := s.must(t, "label"); got != pid+" "+id+"\n" {
		t.Errorf("after the stranger the labels are %q", got)
	}

	for _, c := range []struct {
		args   []string
		status int
		says   string
	}{
		{[]string{"x", "job"}, exitUsage, `"x" is no process id`},
		{[]string{pid, "two words"}, exitUsage, "byte 3 is not allowed"},
		{[]string{pid, "a-text-that-is-too-long"}, exitUsage, "at most 16"},
		{[]string{pid, "job", "--delete"}, exitUsage, "--delete takes a PID"},
		{[]string{"1"}, exitFailed, "process 1 has no label"},
		{[]string{"1", "--delete"}, exitFailed, "process 1 has no label"},
		{[]string{"4194304", "job"}, exitFailed, "there is no process 4194304"},
	} {
		if r := s.tw(t, append([]string{"label"}, c.args...)...); r.status != c.status || !strings.Contains(r.stderr, c.says) {
			t.Errorf("label %q: %+v, want status %d and %q", c.args, r, c.status, c.says)
		}
	}
	s.must(t, "label", pid, "--delete")
	if got := s.must(t, "label"); got != "" {
		t.Errorf("after --delete the labels are %q", got)
	}
	s.must(t, "label", pid, "job-8")
	end()
	eventually(t, "the label is gone with its process", func() bool { return s.must(t, "label") == "" })
	s.stop(t)
}

// run labels its command, and what that leaves behind.
func TestRunLabel(t *testing.T) {
	testutil.Root(t)
	file := filepath.Join(t.TempDir(), "events.jsonl")
	r := tw(t, "run", "--label", "job-7", "-f", "json", "-o", file, "--", "/bin/sh", "-c", "(setsid env -i /bin/sh -c '/bin/true & wait' &)")
	if r.status != 0 {
		t.Fatalf("%+v", r)
	}
	if n := strings.Count(string(readFile(t, file)), `"label":"job-7",`); n < 3 {
		t.Errorf("%d processes are labelled, want the command and its descendants", n)
	}
	// An id is that of the trace, whatever the environment says.
	const id = "0af7651916cd43dd8448eb211c80319c"
	spans := filepath.Join(t.TempDir(), "spans.otlp.jsonl")
	c := cmd(t, "run", "--label", id, "-o", spans, "--", "/bin/sh", "-c", "(setsid env -i /bin/true &)")
	c.Env = append(os.Environ(), "TRACEPARENT=00-11111111111111111111111111111111-2222222222222222-01")
	if r := finish(t, c); r.status != 0 {
		t.Fatalf("%+v", r)
	}
	if text := string(readFile(t, spans)); strings.Count(text, `"traceId":"`) < 3 || strings.Count(text, `"traceId":"`) != strings.Count(text, `"traceId":"`+id+`"`) || strings.Contains(text, "2222222222222222") {
		t.Errorf("the spans are of another trace than %s:\n%s", id, text)
	}
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"--label", "a b", "--", "/bin/true"}, "--label: label"},
		{[]string{"--label", "", "--", "/bin/true"}, "the label is empty"},
		{[]string{"--label", "a", "--label", "b", "--", "/bin/true"}, "--label is given twice; give one"},
		{[]string{"--label", "a", "-p", "1"}, "taskwatch label PID VALUE"},
		{[]string{"--label", "a", "--source", "ptrace", "--", "/bin/true"}, "bpf"},
	} {
		if r := tw(t, append([]string{"run"}, c.args...)...); r.status != exitRunFailed || !strings.Contains(r.stderr, c.says) {
			t.Errorf("run %q: %+v, want %q", c.args, r, c.says)
		}
	}
}

// Records have the facts of their tasks, also where no events are shown.
func TestRecordsAloneHaveFacts(t *testing.T) {
	testutil.Root(t)
	file := filepath.Join(t.TempDir(), "records.jsonl")
	r := tw(t, "run", "--label", "job-7", "--where", `kind == "emit"`, "-o", file, "--", "/bin/sh", "-c", "/bin/true & wait")
	if r.status != 0 {
		t.Fatalf("%+v", r)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	records := 0
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, `{"event":"exec"`) || strings.HasPrefix(line, `{"event":"emit"`) && strings.Contains(line, `"missing"`) {
			t.Error(line)
		}
		if strings.HasPrefix(line, `{"event":"emit","module":"label","json":{`) {
			records++
		}
	}
	if records == 0 {
		t.Errorf("no record:\n%s", text)
	}
}
