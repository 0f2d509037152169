package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

// journald is one of the test's own, in mounts that others do not see. It does what
// its configuration says.
type journald struct {
	*testutil.Held
	pid string
}

const journaldProgram = "/usr/lib/systemd/systemd-journald"

func startJournald(t *testing.T, conf string) *journald {
	t.Helper()
	testutil.Root(t)
	testutil.RequireTool(t, "journalctl")
	testutil.Require(t, testutil.Need{What: "systemd-journald", Remedy: "apt install systemd", Met: func() bool {
		_, err := os.Stat(journaldProgram)
		return err == nil
	}})
	// It ends with the shell, whose input the test ends.
	held, said := testutil.Hold(t, exec.Command("unshare", "--mount", "sh", "-c", `
		mount -t tmpfs none /run && mkdir -p /run/systemd/journal /run/systemd/journald.conf.d /run/log/journal || exit 1
		printf '[Journal]\nStorage=volatile\nReadKMsg=no\nAudit=no\n%b' "$1" >/run/systemd/journald.conf.d/test.conf
		[ -s /etc/machine-id ] || { echo 0123456789abcdef0123456789abcdef >/run/id; mount --bind /run/id /etc/machine-id; }
		`+journaldProgram+` >&2 & j=$!
		until [ -S /run/systemd/journal/socket ]; do sleep 0.05; done
		echo $$
		read x
		kill $j; wait $j; exit 0`, "sh", conf))
	t.Cleanup(func() {
		if held.ProcessState == nil {
			held.Release(t)
		}
	})
	return &journald{held, strings.TrimSpace(said)}
}

// within has a command see this journald.
func (j *journald) within(c *exec.Cmd) *exec.Cmd {
	n := exec.Command("nsenter", append([]string{"--mount=/proc/" + j.pid + "/ns/mnt", "--wd=/", "--"}, c.Args...)...)
	n.Env, n.Stderr = c.Env, c.Stderr
	return n
}

// entries returns what journalctl has of the daemon's entries, in their order.
func (j *journald) entries(t *testing.T, match ...string) (list []map[string]any) {
	t.Helper()
	out, err := j.within(exec.Command("journalctl", append([]string{"-o", "json", "--all", "-q", "SYSLOG_IDENTIFIER=taskwatch"}, match...)...)).Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(out) {
		var entry map[string]any
		if err := json.Unmarshal(line, &entry); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		list = append(list, entry)
	}
	return list
}

// serveJournald runs a daemon whose log goes to a journald.
func serveJournald(t *testing.T, j *journald, more string) *server {
	t.Helper()
	dir := t.TempDir()
	config := filepath.Join(dir, "taskwatch.toml")
	if err := os.WriteFile(config, []byte("[[log]]\nformat = \"journald\"\n"+more), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &server{socket: filepath.Join(dir, "s")}
	s.cmd = j.within(exec.Command(binary(t), "serve", "--socket", s.socket, "--config", config))
	s.begin(t)
	eventually(t, "the log is written", s.log.Has("writing a log"))
	return s
}

// Items are entries of journald, with the item itself and with fields to select
// them by; journalctl shows what has happened.
func TestServeLogsToJournald(t *testing.T) {
	j := startJournald(t, `RateLimitIntervalSec=0\n`)
	s := serveJournald(t, j, "events = [\"exec\", \"exit\"]\nwhere = 'uid == 34571'\nfields = [\"env\"]\nenv = \"names\"\n")
	const n = 50
	shell := load(t, n)
	hard := exec.Command("sh", "-c", "exit 3", "two\nlines", "=\"\\\x01\xff")
	hard.Env = append(os.Environ(), "SECRET=hidden")
	hard.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: stranger, Gid: stranger}}
	_ = hard.Run() // with 3
	want := 2*n + 1 + 2
	eventually(t, "the entries are there", func() bool {
		return len(j.entries(t, "TASKWATCH_EVENT=exec"))+len(j.entries(t, "TASKWATCH_EVENT=exit")) >= want
	})
	s.stop(t)
	kinds := map[string]int{}
	var items bytes.Buffer
	for _, e := range j.entries(t) {
		text := func(key string) string { s, _ := e[key].(string); return s }
		kind := text("TASKWATCH_EVENT")
		kinds[kind]++
		fmt.Fprintln(&items, text("TASKWATCH_ITEM"))
		if kind == "lost" {
			continue
		}
		if text("TASKWATCH_UID") == "" || text("PRIORITY") != "6" || !strings.HasPrefix(text("MESSAGE"), kind+" "+text("TASKWATCH_TID")) || text("_PID") != fmt.Sprint(s.cmd.Process.Pid) {
			t.Errorf("an entry: %v", e)
		}
		if text("TASKWATCH_ENV") != "" || strings.Contains(text("TASKWATCH_ITEM"), "hidden") {
			t.Errorf("an entry has the environment: %v", e)
		}
	}
	if kinds["exec"] != n+2 || kinds["exit"] != n+2 {
		t.Errorf("%v entries, want an exec and an exit of each of %d processes", kinds, n+2)
	}
	// The items are a recording.
	execs, exits := 0, 0
	for _, it := range lines(t, &items) {
		switch ev := it.Event; {
		case ev == nil:
		case ev.Task.PID == hard.Process.Pid && ev.Exit.Code == 3:
			if got, want := fmt.Sprintf("%q", ev.Task.Argv), fmt.Sprintf("%q", hard.Args); got != want {
				t.Errorf("argv %s, want %s", got, want)
			}
		case ev.Task.PPID == shell && ev.Task.Exe != "":
			if ev.Kind.String() == "exec" {
				execs++
			} else {
				exits++
			}
		}
	}
	if execs != n || exits != n {
		t.Errorf("%d execs and %d exits of the load's children, want %d", execs, exits, n)
	}
	if got := len(j.entries(t, "TASKWATCH_EVENT=exit", "TASKWATCH_EXIT_CODE=3")); got != 1 {
		t.Errorf("%d entries match the exit code, want 1", got)
	}
	shown := j.documented(t)
	if !strings.Contains(shown, fmt.Sprintf("exit %d", hard.Process.Pid)) || strings.Count(shown, "/bin/true") < n {
		t.Errorf("the documented commands show:\n%s", shown)
	}
}

// documented runs the commands of docs/daemon.md where this journald is.
func (j *journald) documented(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/daemon.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, found := strings.Cut(string(text), "```bash\n")
	block, _, _ = strings.Cut(block, "```")
	if !found || !strings.Contains(block, "journalctl") {
		t.Fatal("there are no commands")
	}
	c := j.within(exec.Command("sh", "-ec", block))
	c.Env = append(os.Environ(), "PATH="+filepath.Dir(binary(t))+":"+os.Getenv("PATH"))
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil || stderr.Len() > 0 {
		t.Fatalf("%s: %v: %s", block, err, stderr.String())
	}
	return string(out)
}

// A journald that has gone costs items, which are counted and told when there is
// one again.
func TestServeLogsWithoutJournald(t *testing.T) {
	j := startJournald(t, `RateLimitIntervalSec=0\n`)
	s := serveJournald(t, j, "events = [\"exec\"]\n")
	socket := func(from, to string) {
		t.Helper()
		if out, err := j.within(exec.Command("mv", "/run/systemd/journal/"+from, "/run/systemd/journal/"+to)).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	load(t, 1)
	eventually(t, "an entry is there", func() bool { return len(j.entries(t, "TASKWATCH_EVENT=exec")) > 0 })
	socket("socket", "away")
	eventually(t, "the log says so", func() bool { load(t, 1); return s.log.Has("the log cannot be written")() })
	socket("away", "socket")
	eventually(t, "the log is written again", func() bool { load(t, 1); return s.log.Has("the log is written again")() })
	s.stop(t)
	lost := j.entries(t, "TASKWATCH_EVENT=lost")
	if len(lost) == 0 || lost[0]["PRIORITY"] != "4" || !strings.Contains(fmt.Sprint(lost[0]["TASKWATCH_ITEM"]), `"count":`) {
		t.Errorf("losses: %v", lost)
	}
}
