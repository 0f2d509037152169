package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/taskwatch/taskwatch/daemon/api"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/module/build"
	"github.com/taskwatch/taskwatch/source/connector"
)

func TestMain(m *testing.M) {
	testutil.ReapOrphans()
	testutil.Main(m)
}

// patient is how long a test waits for what must happen. It only bounds a
// failure.
const patient = 3 * time.Minute

// running is a daemon that runs.
type running struct {
	*Daemon
	*Client
	socket string
	log    *testutil.Log
	cancel context.CancelFunc
	ended  chan error
}

// start runs a daemon until the test ends. Its socket is in a directory of its
// own, which every user may enter.
func start(t testing.TB, cfg Config) *running {
	t.Helper()
	return startLimited(t, cfg, defaultLimits)
}

// startLimited runs a daemon with other limits.
func startLimited(t testing.TB, cfg Config, limits limits) *running {
	t.Helper()
	if cfg.Socket == "" {
		cfg.Socket = filepath.Join(openDir(t), "taskwatch.sock")
	}
	r := &running{socket: cfg.Socket, log: new(testutil.Log), ended: make(chan error, 1)}
	cfg.Log = slog.New(slog.NewTextHandler(r.log, nil))
	ready := make(chan struct{})
	cfg.OnReady = func() { close(ready) }
	var err error
	if r.Daemon, err = newDaemon(cfg, limits); err != nil {
		t.Fatal(err)
	}
	r.Client = NewClient(cfg.Socket)
	var ctx context.Context
	ctx, r.cancel = context.WithCancel(context.Background())
	go func() { r.ended <- r.Daemon.Run(ctx) }()
	t.Cleanup(func() {
		r.stop(t)
		if t.Failed() {
			t.Logf("the daemon's log:\n%s", r.log.String())
		}
	})
	select {
	case <-ready:
	case err := <-r.ended:
		r.ended <- err
		t.Fatalf("the daemon ended: %v\n%s", err, r.log.String())
	case <-time.After(patient):
		t.Fatal("the daemon is not ready")
	}
	return r
}

// stop ends the daemon and waits for it. It may be called again.
func (r *running) stop(t testing.TB) {
	t.Helper()
	r.Client.Close()
	r.cancel()
	select {
	case err := <-r.ended:
		if err != nil {
			t.Errorf("the daemon ended with: %v", err)
		}
		r.ended <- nil
	case <-time.After(patient):
		t.Fatal("the daemon does not end")
	}
}

// openDir returns a directory that every user may enter.
func openDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "taskwatch-daemon-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// eventually waits for what must become true.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patient); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it does not happen that %s", what)
		}
	}
}

// needsClang is met where kernel modules can be built.
var needsClang = testutil.Need{
	What: "a clang for BPF", Remedy: "install the package clang", Promised: true,
	Met: func() bool { return build.Available() == nil },
}

// needsWasmClang is met where modules for the sandbox can be built.
var needsWasmClang = testutil.Need{
	What: "clang and wasm-ld", Remedy: "install the packages clang and lld", Promised: true,
	Met: func() bool { return build.WasmAvailable() == nil },
}

// needsConnector is met where the process connector answers.
var needsConnector = testutil.Need{
	What: "the process connector", Remedy: "boot a kernel that has it, as root before Linux 6.6",
	Met: func() bool { return connector.Probe() == nil },
}

var built struct {
	mu      sync.Mutex // one compiler at a time
	objects map[string][]byte
}

// kernelFile returns a kernel module, built from a file of this repository.
func kernelFile(t testing.TB, src string) []byte {
	t.Helper()
	testutil.Root(t)
	testutil.Require(t, needsClang)
	return buildFile(t, src, ".o")
}

// wasmFile returns a module for the sandbox.
func wasmFile(t testing.TB, src string) []byte {
	t.Helper()
	testutil.Require(t, needsWasmClang)
	return buildFile(t, src, ".wasm")
}

func buildFile(t testing.TB, src, kind string) []byte {
	t.Helper()
	built.mu.Lock()
	defer built.mu.Unlock()
	if b := built.objects[src+kind]; b != nil {
		return b
	}
	out := filepath.Join(t.TempDir(), "out"+kind)
	if _, err := build.Build(context.Background(), src, out); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if built.objects == nil {
		built.objects = map[string][]byte{}
	}
	built.objects[src+kind] = b
	return b
}

// execCounter counts the execs of one user.
const execCounter = "testdata/count.c"

// load loads a module, with key=value parameters.
func (r *running) load(t testing.TB, name string, file []byte, params ...string) {
	t.Helper()
	if err := r.tryLoad(t.Context(), name, file, params...); err != nil {
		t.Fatal(err)
	}
}

func (r *running) tryLoad(ctx context.Context, name string, file []byte, params ...string) error {
	values := map[string]string{}
	for _, p := range params {
		key, value, _ := strings.Cut(p, "=")
		values[key] = value
	}
	_, err := r.Client.Load(ctx, connect.NewRequest(&api.LoadRequest{Name: name, File: file, Params: values}))
	return err
}

func (r *running) unload(t testing.TB, name string) {
	t.Helper()
	if _, err := r.Client.Unload(t.Context(), connect.NewRequest(&api.UnloadRequest{Name: name})); err != nil {
		t.Fatal(err)
	}
}

func (r *running) modules(t testing.TB) []*api.Module {
	t.Helper()
	list, err := r.Client.List(t.Context(), connect.NewRequest(&api.ListRequest{}))
	if err != nil {
		t.Fatal(err)
	}
	return list.Msg.Modules
}

// global returns a module's variable.
func (r *running) global(t testing.TB, name, variable string) string {
	t.Helper()
	g, err := r.Client.Globals(t.Context(), connect.NewRequest(&api.GlobalsRequest{Name: name}))
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range g.Msg.Globals {
		if g.Name == variable {
			return g.Value
		}
	}
	t.Fatalf("module %s has no variable %s: %v", name, variable, g.Msg.Globals)
	return ""
}

// wantCode fails unless err is an error of the interface that says all that.
func wantCode(t testing.TB, err error, code connect.Code, says ...string) {
	t.Helper()
	var e *connect.Error
	if !errors.As(err, &e) || e.Code() != code {
		t.Fatalf("got error %v, want %v", err, code)
	}
	for _, s := range says {
		if !strings.Contains(e.Message(), s) {
			t.Errorf("error %q does not say %q", e.Message(), s)
		}
	}
}

func param(name string, value any) string { return fmt.Sprintf("%s=%v", name, value) }
