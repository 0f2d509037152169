package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/daemon"
	"github.com/taskwatch/taskwatch/daemon/api"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

// denyScript runs a command for which one system call fails with EPERM, as the
// seccomp filter of a container has it.
const denyScript = `
import ctypes, os, struct, sys
load = struct.pack("HBBI", 0x20, 0, 0, 0)                    # the number of the call
match = struct.pack("HBBI", 0x15, 0, 1, int(sys.argv[1]))    # is it this one?
deny = struct.pack("HBBI", 0x06, 0, 0, 0x00050000 | 1)       # SECCOMP_RET_ERRNO, EPERM
allow = struct.pack("HBBI", 0x06, 0, 0, 0x7fff0000)          # SECCOMP_RET_ALLOW
code = ctypes.create_string_buffer(load + match + deny + allow)
prog = struct.pack("HxxxxxxQ", 4, ctypes.addressof(code))
libc = ctypes.CDLL(None, use_errno=True)
for args in ((38, 1, 0, 0, 0), (22, 2, prog, 0, 0)):         # PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP
    if libc.prctl(*args) != 0:
        sys.exit(os.strerror(ctypes.get_errno()))
os.execv(sys.argv[2], sys.argv[2:])
`

// withoutPerf has a command started without perf_event_open.
func withoutPerf(t testing.TB, c *exec.Cmd) {
	t.Helper()
	python := testutil.RequireTool(t, "python3")
	c.Args = append([]string{python, "-c", denyScript, fmt.Sprint(unix.SYS_PERF_EVENT_OPEN), c.Path}, c.Args[1:]...)
	c.Path = python
}

// Where perf_event_open is denied, watch shows all events that it needs not for,
// changes of ids included.
func TestWatchWithoutPerfEvents(t *testing.T) {
	testutil.Root(t)
	out := filepath.Join(t.TempDir(), "events.jsonl")
	c := cmd(t, "watch", "--source", "bpf", "-f", "json", "-o", out)
	withoutPerf(t, c)
	var log screen
	c.Stderr = &log
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it watches", func() bool {
		if state(c.Process.Pid) == 'Z' {
			t.Fatal("it has ended: ", log.String())
		}
		return strings.Contains(log.String(), "watching the machine")
	})
	missing := map[string]bool{"clone": true, "exec": true, "uid": true, "gid": true, "exit": true}
	eventually(t, "all kinds of event are seen", func() bool {
		load(t, 1)
		b, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			var ev struct{ Event string }
			if json.Unmarshal([]byte(line), &ev) == nil {
				delete(missing, ev.Event)
			}
		}
		return len(missing) == 0
	})
	if err := c.Process.Signal(unix.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err != nil {
		t.Errorf("watch: %v: %s", err, log.String())
	}
}

// A daemon that perf_event_open is denied to gives each client its events or the
// error, and goes on with its modules and other clients.
func TestServeWithoutPerfEvents(t *testing.T) {
	testutil.Root(t)
	needsClang(t)
	_, wasm := buildBoth(t, "count", countModule)
	s := &server{cmd: cmd(t, "serve", "--source", "bpf", "--socket", filepath.Join(t.TempDir(), "s"))}
	s.socket = s.cmd.Args[len(s.cmd.Args)-1]
	withoutPerf(t, s.cmd)
	s.begin(t)
	s.must(t, "insmod", wasm, fmt.Sprintf("uid=%d", stranger))
	client := daemon.NewClient(s.socket)
	defer client.Close()
	for _, kinds := range [][]string{{"init", "free"}, {"uid", "gid"}, {"exec-failed"}, {"exec", "exit"}} {
		events, err := client.Events(t.Context(), connect.NewRequest(&api.EventsRequest{Events: kinds}))
		if err != nil {
			t.Fatal(err)
		}
		if !events.Receive() && !strings.Contains(events.Err().Error(), "cannot be observed") {
			t.Errorf("a client of %s got %v", kinds, events.Err())
		}
		events.Close()
		if rows := s.table(t); !strings.HasSuffix(rows["count"], " live") {
			t.Fatalf("after a client of %s, lsmod says %q", kinds, rows)
		}
	}
	load(t, 1)
	eventually(t, "the module has seen what has happened", func() bool { return strings.Contains(s.must(t, "modinfo", "count"), "execs = 2 ") })
	s.stop(t)
}
