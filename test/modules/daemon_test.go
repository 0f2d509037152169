package modules

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/daemon"
	"github.com/taskwatch/taskwatch/daemon/api"
	"github.com/taskwatch/taskwatch/internal/testmodule"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/record"
	"github.com/taskwatch/taskwatch/source"
	"github.com/taskwatch/taskwatch/source/bpf"
)

// serve runs a daemon until the test ends.
func serve(t *testing.T, edits ...func(*daemon.Config)) *daemon.Client {
	t.Helper()
	ready := make(chan struct{})
	socket := filepath.Join(t.TempDir(), "s")
	cfg := daemon.Config{
		Socket: socket, Source: bpf.Name, Log: slog.New(slog.NewTextHandler(t.Output(), nil)), OnReady: func() { close(ready) },
	}
	for _, edit := range edits {
		edit(&cfg)
	}
	d, err := daemon.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	client := daemon.NewClient(socket)
	t.Cleanup(func() {
		client.Close()
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the daemon: %v", err)
		}
	})
	select {
	case <-ready:
	case err := <-ended:
		ended <- err
		t.Fatal("the daemon is not ready")
	}
	return client
}

// ours has a daemon watch this process and what it starts: a stream loses items while
// others' storms overrun it, which it tells.
func ours(c *daemon.Config) {
	c.Open = func(ready func(), short func(*source.Shortage)) (source.Source, error, error) {
		src, err := bpf.New(bpf.Config{PID: os.Getpid(), CallStats: true, OnReady: ready, OnShortage: short})
		return src, nil, err
	}
}

// failures reads a stream of events up to the exec of argv, and returns the
// failures of watchers.
func failures(t *testing.T, s *connect.ServerStreamForClient[api.EventsResponse], argv []string) (list []*taskwatch.Failure) {
	t.Helper()
	for s.Receive() {
		for r := record.NewReader(strings.NewReader(s.Msg().Lines), "the stream"); ; {
			l, err := r.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case l.Loss != nil:
				t.Errorf("lost: %+v", l.Loss)
			case l.Failure != nil:
				list = append(list, l.Failure)
			case l.Event != nil && slices.Equal(l.Event.Task.Argv, argv):
				return list
			}
		}
	}
	t.Fatalf("the stream ends early: %v", s.Err())
	return nil
}

// inShort tells failures in a line each.
func inShort(list []*taskwatch.Failure) (lines []string) {
	for _, e := range list {
		lines = append(lines, fmt.Sprintf("%s %s %s %s veto=%v", e.Module, e.Watcher, e.Event.Kind, unix.ErrnoName(taskwatch.Errno(e.Err)), e.Verdict == taskwatch.Denied))
	}
	return lines
}

// shortVerdicts is what inShort tells of the module verdicts, where the kernel can refuse
// or not.
func shortVerdicts(veto bool) (lines []string) {
	for _, text := range []string{"on_init init EAGAIN", "on_exec exec EACCES", "on_uid uid ENOMEM", "on_gid gid EPERM"} {
		lines = append(lines, fmt.Sprintf("verdicts %s veto=%v", text, veto))
	}
	return lines
}

// A module that the daemon has loaded into the kernel refuses what it refuses
// without one, and the list and the stream tell of it. Where the kernel cannot
// refuse, the module is not taken but on request, and then refuses nothing.
func TestVerdictsThroughTheDaemon(t *testing.T) {
	testutil.Root(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute) // bounds a failure
	defer cancel()
	attempts := testutil.BuildC(t, "-static", "testdata/attempts.c")
	object := testmodule.Object(t, "testdata/modules/verdicts.c")
	can, err := kernelRefuses()
	if err != nil {
		t.Fatal(err)
	}
	client := serve(t, ours)

	load := &api.LoadRequest{Name: "verdicts", File: object, AllowBestEffort: true, Params: map[string]string{"gid": fmt.Sprint(group)}}
	_, err = client.Load(ctx, connect.NewRequest(load))
	if can && err != nil {
		t.Fatal(err)
	}
	want := refused
	if !can {
		var e *connect.Error
		if !errors.As(err, &e) || e.Code() != connect.CodeFailedPrecondition || !strings.Contains(e.Message(), "it wants to deny init") {
			t.Errorf("a kernel that refuses nothing takes the module: %v", err)
		}
		load.AllowObserveOnly = true
		if _, err := client.Load(ctx, connect.NewRequest(load)); err != nil {
			t.Fatal(err)
		}
		want = allowed
	}
	stream, err := client.Events(ctx, connect.NewRequest(&api.EventsRequest{Events: []string{"init", "exec", "uid", "gid"}}))
	if err != nil || !stream.Receive() {
		t.Fatal(err, stream.Err())
	}
	defer stream.Close()

	if out, err := exec.Command(attempts, fmt.Sprint(group)).CombinedOutput(); err != nil || string(out) != want {
		t.Errorf("with the module: %s, %v; want %s", out, err, want)
	}
	last := exec.Command(attempts, "exit")
	last.Args[0] = "last"
	if err := last.Run(); err != nil {
		t.Fatal(err)
	}
	lines := inShort(failures(t, stream, last.Args))
	if want := shortVerdicts(can); !slices.Equal(lines, want) {
		t.Errorf("the stream says\n%q, want\n%q", lines, want)
	}
	list, err := client.List(ctx, connect.NewRequest(&api.ListRequest{}))
	if err != nil {
		t.Fatal(err)
	}
	vetoes := uint64(0)
	if can {
		vetoes = 4
	}
	if m := list.Msg.Modules; len(m) != 1 || m[0].State != "live" || m[0].Calls.Errors != 4 || m[0].Calls.Vetoes != vetoes {
		t.Errorf("the list says %v, want 4 errors and %d vetoes", m, vetoes)
	}

	if _, err := client.Unload(ctx, connect.NewRequest(&api.UnloadRequest{Name: "verdicts"})); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(attempts, fmt.Sprint(group)).CombinedOutput(); err != nil || string(out) != allowed {
		t.Errorf("without the module: %s, %v; want %s", out, err, allowed)
	}
}
