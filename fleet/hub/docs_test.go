package hub

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/taskwatch/taskwatch/daemon"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/module/build"
)

// fence is a block in a document, with its language.
var fence = regexp.MustCompile("(?ms)^```(\\w*)\n(.*?)^```$")

// The commands of docs/fleet.md work as they stand there, one after the other in
// one shell, but for names of machines and places of files; a watch is ended after
// a moment, and a module that is to deny observes where it cannot.
func TestDocumentedFleetCommands(t *testing.T) {
	testutil.Root(t)
	testutil.RequireTool(t, "minisign")
	testutil.Require(t, testutil.Need{
		What: "a clang for BPF", Remedy: "install the package clang", Promised: true, Met: func() bool { return build.Available() == nil },
	})
	text, err := os.ReadFile("../../docs/fleet.md")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	d := &documented{dir: dir, bin: filepath.Join(dir, "bin"), hub: filepath.Join(dir, "hub"), other: filepath.Join(dir, "other")}
	d.make(t)
	images := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer images.Close()
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/logs" {
			t.Errorf("the collector is asked for %s", r.URL.Path)
		}
	}))
	defer collector.Close()
	servers := startCluster(t, d.other, 3)
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	var script strings.Builder
	script.WriteString("trap 'kill $(cat pids); wait' EXIT\n")
	blocks := 0
	for _, m := range fence.FindAllStringSubmatch(string(text), -1) {
		switch language, block := m[1], m[2]; {
		case language == "toml":
			checkTable(t, block)
		case strings.HasPrefix(block, "podman "): // .ci/image runs it
		case language != "shell":
			t.Errorf("a block is %q, which no test looks at:\n%s", language, block)
		case strings.HasPrefix(block, "go -C fleet/hub test"): // .ci/nightly runs it
		default:
			blocks++
			hub := d.hub
			if strings.Contains(block, "nats-config") {
				hub = d.other // the first one goes on
			}
			script.WriteString(strings.NewReplacer(
				"/var/lib/taskwatch-hub", hub, "tls://hub:4222", "tls://"+d.listen, "web1", host,
				"registry.example", strings.TrimPrefix(images.URL, "http://"),
				"tls://nats1:4222,tls://nats2:4222,tls://nats3:4222", servers.urls(), "ca.pem", servers.ca,
			).Replace(block))
		}
	}
	script.WriteString("until [ $(grep -c msg=serving hub.log) = 2 ]; do sleep 0.05; done\n")
	if blocks < 6 {
		t.Fatalf("%d blocks of commands", blocks)
	}
	c := exec.Command("/bin/sh", "-eu", "-c", script.String())
	c.Dir = dir
	c.Env = append(os.Environ(), "PATH="+d.bin+":"+os.Getenv("PATH"), "XDG_CONFIG_HOME="+dir, "XDG_RUNTIME_DIR="+dir, "OTEL_EXPORTER_OTLP_ENDPOINT="+collector.URL)
	out, err := c.CombinedOutput()
	hubLog, _ := os.ReadFile(filepath.Join(dir, "hub.log"))
	if err != nil {
		t.Fatalf("%v:\n%s\nthe log of the hubs:\n%s", err, out, hubLog)
	}
	for _, want := range []string{
		"NODE  ", host, "role=ci", // nodes
		"forkguard  load", // lsmod
		`"event":"start"`, // watch, and the replay
		"night", "/team/count@sha256:", "count.o",
		"loader alice: wants module forkguard, generation ", "wants module forkguard unloaded",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the commands do not show %q:\n%s", want, out)
		}
	}
}

// documented is where the commands of a document are run.
type documented struct {
	dir, bin, hub, other, listen string
}

// make builds the programs, and scripts around them for what a person does not
// have to say, or waits for.
func (d *documented) make(t *testing.T) {
	t.Helper()
	d.listen = strings.Replace(freeAddress(t), "127.0.0.1", "localhost", 1)
	if err := os.Mkdir(d.bin, 0o755); err != nil {
		t.Fatal(err)
	}
	programs := filepath.Join(d.dir, "programs")
	for from, path := range map[string]string{".": "./cmd/taskwatch-hub", "../..": "./cmd/taskwatch"} {
		build := exec.Command("go", "build", "-o", programs+"/", path)
		build.Dir = from
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	if _, err := build.Build(t.Context(), "../../daemon/testdata/count.c", filepath.Join(d.dir, "count.o")); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"sudo": "#!/bin/sh\nexec \"$@\"\n",
		"taskwatch-hub": fmt.Sprintf(`#!/bin/sh
case "$1" in
--dir) echo $$ >>pids; exec %[1]s/taskwatch-hub --listen %[2]s "$@" 2>>hub.log ;;
enroll) until grep -q msg=serving hub.log; do sleep 0.02; done ;;
esac
exec %[1]s/taskwatch-hub "$@"
`, programs, d.listen),
		"taskwatch": fmt.Sprintf(`#!/bin/sh
case "$1 ${2:-}" in
"module push" | "module pull") command=$2; shift 2; exec %[1]s/taskwatch module "$command" --plain-http "$@" ;;
"serve --hub") shift; echo $$ >>pids; exec %[1]s/taskwatch serve --socket ./s --hub-dir ./node "$@" ;;
"fleet insmod")
	shift 2
	until %[1]s/taskwatch fleet nodes | grep -q ' up '; do sleep 0.05; done
	exec %[1]s/taskwatch fleet insmod --allow-observe-only --plain-http "$@" ;;
"fleet watch") shift 2; exec timeout --foreground --preserve-status -s INT 2 %[1]s/taskwatch fleet watch "$@" ;;
"fleet nodes")
	until %[1]s/taskwatch "$@" | grep ' up '; do sleep 0.05; done ;;
esac
exec %[1]s/taskwatch "$@"
`, programs),
	} {
		if err := os.WriteFile(filepath.Join(d.bin, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// checkTable has the daemon read a table [hub].
func checkTable(t *testing.T, text string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "taskwatch.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := daemon.ReadFile(file)
	if err != nil || f.Hub == nil || f.Hub.Address == "" || f.Hub.Token == "" || len(f.Hub.Keys) != 1 || len(f.Hub.Labels) != 1 {
		t.Errorf("%v:\n%s", err, text)
	}
}
