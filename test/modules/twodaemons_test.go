package modules

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/taskwatch/taskwatch/daemon/api"
	"github.com/taskwatch/taskwatch/internal/testmodule"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

const vetoC = "../../module/kernel/testdata/modules/veto.c"

// denials are what the program twvetoed got for what it tried: errnos.
type denials struct{ fork, exec, uid, gid int }

func tryAll(t *testing.T, program string) (d denials) {
	t.Helper()
	out, err := exec.Command(program).Output()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscanf(string(out), "fork=%d exec=%d uid=%d gid=%d", &d.fork, &d.exec, &d.uid, &d.gid); err != nil {
		t.Fatalf("%q: %v", out, err)
	}
	return d
}

// Two daemons side by side: each denies what its own modules deny and counts its
// own denials, and takes both along when it ends, however it does.
func TestTwoDaemons(t *testing.T) {
	testutil.Require(t, testutil.NeedsRoot, needsRefusals)
	program := testutil.BuildC(t, "-static", "../../module/kernel/testdata/twvetoed.c")
	object := testmodule.Object(t, vetoC)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute) // bounds a failure
	defer cancel()
	load := func(d *apart, name string, params map[string]string) {
		t.Helper()
		params["comm"] = "twvetoed"
		if _, err := d.client.Load(ctx, connect.NewRequest(&api.LoadRequest{Name: name, File: object, AllowBestEffort: true, Params: params})); err != nil {
			t.Fatal(err)
		}
	}
	// denied holds what a daemon counts of each of its modules to the number.
	denied := func(d *apart, want map[string]uint64) {
		t.Helper()
		list, err := d.client.List(ctx, connect.NewRequest(&api.ListRequest{}))
		if err != nil {
			t.Fatal(err)
		}
		if len(list.Msg.Modules) != len(want) {
			t.Errorf("the list has %v, want %d modules", list.Msg.Modules, len(want))
		}
		for _, m := range list.Msg.Modules {
			if n := want[m.Name]; m.Calls.Vetoes != n || m.Calls.Errors != n {
				t.Errorf("%s: %d vetoes and %d errors, want %d of each", m.Name, m.Calls.Vetoes, m.Calls.Errors, n)
			}
		}
	}
	try := func(want denials) {
		t.Helper()
		if got := tryAll(t, program); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}

	dir := t.TempDir()
	first, second := serveApart(t, filepath.Join(dir, "first")), serveApart(t, filepath.Join(dir, "second"))
	load(first, "early", map[string]string{"on_exec": "y", "on_gid": "y", "errno": "11"})
	load(second, "late", map[string]string{"on_init": "y", "on_uid": "y", "errno": "12"})
	n := testutil.Size(3, 10, 100)
	for range n {
		try(denials{fork: 12, exec: 11, uid: 12, gid: 11})
	}
	denied(first, map[string]uint64{"early": 2 * uint64(n)})
	denied(second, map[string]uint64{"late": 2 * uint64(n)})

	// Both deny the same: one of them is the first to be asked.
	load(second, "latest", map[string]string{"on_exec": "y", "errno": "13"})
	got := tryAll(t, program)
	if want := (denials{fork: 12, exec: got.exec, uid: 12, gid: 11}); got != want || got.exec != 11 && got.exec != 13 {
		t.Errorf("with two that deny an exec: got %+v, want %+v with an exec of 11 or 13", got, want)
	}

	kill := func(d *apart) {
		t.Helper()
		if err := d.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = d.Wait() // it was killed
	}
	kill(first)
	try(denials{fork: 12, exec: 13, uid: 12})
	first = serveApart(t, filepath.Join(dir, "first"))
	denied(first, nil)
	load(first, "again", map[string]string{"on_gid": "y", "errno": "14"})
	try(denials{fork: 12, exec: 13, uid: 12, gid: 14})
	second.terminate(t)
	second.end(t)
	try(denials{gid: 14})
	denied(first, map[string]uint64{"again": 2})
	kill(first)
	try(denials{})
}
