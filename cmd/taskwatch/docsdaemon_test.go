package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

// The commands of docs/daemon.md work as they stand there, one after the other
// in one shell, but for the place of the socket.
func TestDocumentedDaemonCommands(t *testing.T) {
	testutil.Root(t)
	needsClang(t)
	testutil.RequireTool(t, "curl")
	t.Parallel()
	text, err := os.ReadFile("../../docs/daemon.md")
	if err != nil {
		t.Fatal(err)
	}
	run := filepath.Join(t.TempDir(), "run")
	socket := filepath.Join(run, "taskwatch.sock")
	const documented = "/run/taskwatch/taskwatch.sock"
	var script strings.Builder
	blocks := regexp.MustCompile("(?ms)^```shell\n(.*?)^```$").FindAllStringSubmatch(string(text), -1)
	for _, b := range blocks {
		script.WriteString(strings.ReplaceAll(b[1], documented, socket))
	}
	if len(blocks) == 0 || strings.Count(script.String(), socket) < 2 {
		t.Fatalf("%d blocks of commands", len(blocks))
	}
	bin := t.TempDir()
	for name, text := range map[string]string{
		"sudo": "#!/bin/sh\nexec \"$@\"\n",
		// A person does not type as fast.
		"taskwatch": fmt.Sprintf(`#!/bin/sh
case "$1" in
insmod) while [ ! -S %[1]s ]; do sleep 0.02; done ;;
esac
case "$1" in
serve | insmod | rmmod | lsmod | modinfo) command=$1; shift; exec %[2]s "$command" --socket %[1]s "$@" ;;
esac
exec %[2]s "$@"
`, socket, binary(t)),
	} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	c := pageShell(t, script.String()+"\nwait\n", t.TempDir())
	// The directory of the socket is made, as that below /run is.
	c.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "XDG_RUNTIME_DIR="+filepath.Dir(run))
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	// protobuf puts spaces into JSON, others in every build.
	tight := regexp.MustCompile(`([:,]) +`).ReplaceAllString(string(out), "$1")
	for _, want := range []string{
		"MODULE  KIND    EVENTS", "count   kernel  exec", "watcher:       exec: count (",
		`"globals":[{"name":"execs"`, `"source":"bpf"`, `"watchers":[{"watcher":{"event":"exec","function":"count"}`,
		`{"module":{"name":"again"`, ": /bin/true", "msg=ended",
	} {
		if !strings.Contains(string(out), want) && !strings.Contains(tight, want) {
			t.Errorf("the commands do not show %q:\n%s", want, out)
		}
	}
	if strings.Contains(tight, `"code":`) {
		t.Errorf("a call has failed:\n%s", out)
	}
	if _, err := os.Lstat(run); !os.IsNotExist(err) {
		t.Errorf("left behind: %v", err)
	}
}
