package daemon

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"github.com/taskwatch/taskwatch/daemon/api"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

// stranger is a user id that nothing else on the machine has.
const stranger = 34572

// execLoad runs a shell as the stranger that runs true n times: n+1 execs and
// exits.
func execLoad(t testing.TB, n int) {
	t.Helper()
	c := exec.Command("sh", "-c", "i=0; while [ $i -lt $0 ]; do /bin/true; i=$((i+1)); done", strconv.Itoa(n))
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: stranger, Gid: stranger}}
	c.Dir = "/"
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("the load: %v: %s", err, out)
	}
}

// A module of either kind is loaded, seen, read while it runs, and unloaded; it
// counts exactly what happens while it is loaded.
func TestModule(t *testing.T) {
	testutil.Root(t) // the load is somebody else
	for _, c := range []struct {
		kind, source string
		file         func(testing.TB, string) []byte
	}{
		{"kernel", "bpf", kernelFile},
		{"wasm", "bpf", wasmFile},
		{"wasm", "connector", wasmFile},
	} {
		t.Run(c.kind+" "+c.source, func(t *testing.T) {
			if c.source == "connector" {
				testutil.Require(t, needsConnector)
			}
			testModule(t, c.kind, c.source, c.file(t, execCounter))
		})
	}
}

func testModule(t *testing.T, kind, source string, file []byte) {
	r := start(t, Config{Source: source})
	if source != "connector" { // whose events may arrive after a module that came later
		execLoad(t, 3)
	}
	r.load(t, "count", file, param("uid", stranger))
	execLoad(t, 10)

	want := &api.Module{
		Name: "count", Kind: kind, State: "live", Origin: "api",
		Events: []string{"exec", "exit"}, References: 2,
	}
	list := r.modules(t)
	if len(list) != 1 {
		t.Fatalf("modules %v, want one", list)
	}
	list[0].Calls = nil
	if !proto.Equal(list[0], want) {
		t.Errorf("module %v, want %v", list[0], want)
	}
	r.counts(t, "execs", "11")
	r.counts(t, "exits", "11")

	info, err := r.Client.Info(t.Context(), connect.NewRequest(&api.InfoRequest{Name: "count"}))
	if err != nil {
		t.Fatal(err)
	}
	m := info.Msg
	if m.Description != "counts execs and exits" || m.Version != "1.2" || m.License != "GPL" || m.Author != "taskwatch" ||
		len(m.Watchers) != 2 || m.Watchers[0].Event != "exec" || m.Watchers[0].Function != "count_exec" ||
		len(m.Sha256) != 64 || m.Loaded == "" || len(m.Veto) != 0 {
		t.Errorf("info %v", m)
	}
	params, err := r.Client.Params(t.Context(), connect.NewRequest(&api.ParamsRequest{Name: "count"}))
	if err != nil {
		t.Fatal(err)
	}
	if p := params.Msg.Params; len(p) != 2 || p[1].Name != "uid" || p[1].Value != strconv.Itoa(stranger) || p[1].Default != "-1" ||
		p[1].Type != map[string]string{"kernel": "int", "wasm": "s32"}[kind] || !strings.HasPrefix(p[1].Description, "the user") || p[0].Value != "false" {
		t.Errorf("parameters %v", p)
	}

	r.unload(t, "count")
	if list := r.modules(t); len(list) != 0 {
		t.Errorf("modules %v, want none", list)
	}
	r.load(t, "count", file, param("uid", stranger))
	execLoad(t, 1)
	r.counts(t, "execs", "2") // it has begun anew
	r.stats(t, 2)
}

// counts waits until the module's variable has the value, which it has at once
// in the kernel, and when the events have arrived in the sandbox.
func (r *running) counts(t testing.TB, variable, want string) {
	t.Helper()
	eventually(t, variable+" is "+want, func() bool { return r.global(t, "count", variable) == want })
	if got := r.global(t, "count", variable); got != want {
		t.Errorf("%s is %s, want %s", variable, got, want)
	}
}

// stats checks that calls were counted, at least so many on exec.
func (r *running) stats(t testing.TB, least uint64) {
	t.Helper()
	s, err := r.Client.Stats(t.Context(), connect.NewRequest(&api.StatsRequest{Name: "count"}))
	if err != nil {
		t.Fatal(err)
	}
	w, all := s.Msg.Watchers, s.Msg.Module.Calls
	if len(w) != 2 || w[0].Watcher.Function != "count_exec" || w[0].Watcher.Event != "exec" || !w[0].Calls.Timed || w[0].Calls.Calls < least ||
		!all.Timed || all.Calls < w[0].Calls.Calls+w[1].Calls.Calls || all.Errors != 0 || all.Vetoes != 0 || s.Msg.Module.Drops != 0 {
		t.Errorf("stats %v", s.Msg)
	}
}

// What cannot be loaded or is not there is an error that says why, and leaves
// the daemon as it was.
func TestRejected(t *testing.T) {
	file := kernelFile(t, execCounter)
	r := start(t, Config{})
	r.load(t, "count", file)
	for _, c := range []struct {
		name   string
		file   []byte
		params []string
		code   connect.Code
		says   []string
	}{
		{"count", file, nil, connect.CodeAlreadyExists, []string{"count", "registered", "unload it first"}},
		{"other", []byte("#!/bin/sh\n"), nil, connect.CodeInvalidArgument, []string{"neither", "taskwatch module build"}},
		{"other", nil, nil, connect.CodeInvalidArgument, []string{"empty"}},
		{"other", file[:len(file)/2], nil, connect.CodeInvalidArgument, []string{"other", "ELF"}},
		{"other", file, []string{"uid=x"}, connect.CodeInvalidArgument, []string{"uid=x", "int"}},
		{"other", file, []string{"none=1"}, connect.CodeInvalidArgument, []string{"none", "its parameters are"}},
		{"no such name", file, nil, connect.CodeInvalidArgument, []string{"no such name", "1 to 32 letters"}},
		{"", file, nil, connect.CodeInvalidArgument, []string{"1 to 32 letters"}},
		{" stream 1", file, nil, connect.CodeInvalidArgument, nil},
	} {
		wantCode(t, r.tryLoad(t.Context(), c.name, c.file, c.params...), c.code, c.says...)
	}
	_, err := r.Client.Unload(t.Context(), connect.NewRequest(&api.UnloadRequest{Name: "none"}))
	wantCode(t, err, connect.CodeNotFound, "none", "not registered", "lsmod")
	_, err = r.Client.Info(t.Context(), connect.NewRequest(&api.InfoRequest{Name: "none"}))
	wantCode(t, err, connect.CodeNotFound, "none", "not registered")
	if list := r.modules(t); len(list) != 1 || list[0].Name != "count" || list[0].State != "live" {
		t.Errorf("modules %v, want count alone", list)
	}
}

// Without bpf, kernel modules are rejected with the reason.
func TestKernelModuleWithoutBPF(t *testing.T) {
	file := kernelFile(t, execCounter)
	testutil.Require(t, needsConnector)
	r := start(t, Config{Source: "connector"})
	wantCode(t, r.tryLoad(t.Context(), "count", file), connect.CodeFailedPrecondition, "count", "needs the source bpf", "taskwatch uses the source connector")
	s, err := r.Client.Status(t.Context(), connect.NewRequest(&api.StatusRequest{}))
	if err != nil {
		t.Fatal(err)
	}
	if s.Msg.Source != "connector" || s.Msg.Scope != "the machine" || s.Msg.NoKernelModules == "" || int(s.Msg.Pid) != os.Getpid() {
		t.Errorf("status %v", s.Msg)
	}
}

// A second daemon on a live socket is rejected; one that was left behind is
// taken over; what is no socket is left alone.
func TestSocketPlace(t *testing.T) {
	testutil.Require(t, needsConnector)
	runtime := openDir(t)
	t.Setenv("XDG_RUNTIME_DIR", runtime)
	r := start(t, Config{Source: "connector", Socket: filepath.Join(runtime, "made", "taskwatch.sock")})
	_, err := New(Config{Socket: r.socket, Source: "connector"})
	if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), r.socket) || !strings.Contains(err.Error(), strconv.Itoa(os.Getpid())) {
		t.Fatalf("a second daemon: %v, want ErrInUse with the socket and the pid", err)
	}
	if list := r.modules(t); len(list) != 0 { // the first one goes on
		t.Error(list)
	}
	dir := filepath.Dir(r.socket)
	r.stop(t)
	if _, err := os.Lstat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory that the daemon has made: %v", err)
	}

	// As kill -9 leaves it: a socket that nobody listens at, and the lock file.
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Bind(fd, &syscall.SockaddrUnix{Name: r.socket}); err != nil {
		t.Fatal(err)
	}
	syscall.Close(fd)
	if err := os.WriteFile(r.socket+".lock", []byte("1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	again := start(t, Config{Socket: r.socket, Source: "connector"})
	if list := again.modules(t); len(list) != 0 {
		t.Error(list)
	}
	again.stop(t)
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}

	if err := os.WriteFile(r.socket, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Config{Socket: r.socket, Source: "connector"}); err == nil || !strings.Contains(err.Error(), "not a socket") {
		t.Errorf("a file in the place of the socket: %v", err)
	}
	if b, err := os.ReadFile(r.socket); err != nil || string(b) != "precious" {
		t.Errorf("the file was touched: %q, %v", b, err)
	}
}

// A module that wants to deny is not taken where it cannot, but on request.
func TestModuleWithoutItsVeto(t *testing.T) {
	testutil.Require(t, needsConnector)
	file := wasmFile(t, "testdata/deny.c")
	r := start(t, Config{Source: "connector"})
	wantCode(t, r.tryLoad(t.Context(), "deny", file), connect.CodeFailedPrecondition, `"deny"`, "veto on exec", "the source connector denies nothing")
	_, err := r.Client.Load(t.Context(), connect.NewRequest(&api.LoadRequest{Name: "deny", File: file, AllowObserveOnly: true}))
	if err != nil || len(r.modules(t)) != 1 {
		t.Errorf("on request: %v", err)
	}
}

// A module of the sandbox that is stuck is put into quarantine, says so, and
// costs the others nothing; loaded again, it is called again.
func TestQuarantine(t *testing.T) {
	testutil.Root(t)
	file, counter := wasmFile(t, "testdata/loop.c"), wasmFile(t, execCounter)
	r := start(t, Config{})
	r.load(t, "stuck", file, "deadline=1ms")
	r.load(t, "count", counter, param("uid", stranger))
	execLoad(t, 20)
	r.counts(t, "execs", "21")
	state := func() *api.Module {
		for _, m := range r.modules(t) {
			if m.Name == "stuck" {
				return m
			}
		}
		t.Fatal("it is gone")
		return nil
	}
	eventually(t, "it is in quarantine", func() bool { return state().State == "quarantined" })
	if m := state(); m.Reason == "" || m.Calls.Errors == 0 || m.Drops == 0 {
		t.Errorf("module %v, want a reason, errors and drops", m)
	}
	r.unload(t, "stuck")
	r.load(t, "stuck", file, "deadline=1ms")
	if m := state(); m.State != "live" {
		t.Errorf("loaded again: %v", m)
	}
}
