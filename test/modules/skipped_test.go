package modules

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"regexp"
	"strconv"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/taskwatch/taskwatch/daemon"
	"github.com/taskwatch/taskwatch/daemon/api"
	"github.com/taskwatch/taskwatch/internal/testmodule"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

// On a kernel that preempts everything, the daemon's list and metrics say how many
// operations have passed that a module would have denied.
func TestSkippedVetoesThroughTheDaemon(t *testing.T) {
	testutil.Require(t, testutil.NeedsRoot, needsRefusals)
	testutil.PreemptAll(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute) // bounds a failure
	defer cancel()
	program := testutil.BuildC(t, "-static", "../../module/kernel/testdata/attack.c")
	object := testmodule.Object(t, "../../module/kernel/testdata/modules/veto.c")
	address := freeAddress(t)
	client := serve(t, func(cfg *daemon.Config) { cfg.Metrics = address })
	if _, err := client.Load(ctx, connect.NewRequest(&api.LoadRequest{
		Name: "veto", File: object, AllowBestEffort: true, Params: map[string]string{"comm": "twattack", "on_exec": "y"},
	})); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(program, "exec", "6", strconv.Itoa(testutil.Size(4000, 10000, 60000))).Output()
	if err != nil {
		t.Fatal(err)
	}
	var tries, done uint64
	if _, err := fmt.Sscan(string(out), &tries, &done); err != nil || tries == 0 {
		t.Fatalf("the attack says %q, %v", out, err)
	}
	look := func() *api.Module {
		t.Helper()
		list, err := client.List(ctx, connect.NewRequest(&api.ListRequest{}))
		if err != nil {
			t.Fatal(err)
		}
		return list.Msg.Modules[0]
	}
	m := look()
	skipped, missed := metric(t, address, `taskwatch_module_skipped_vetoes_total{module="veto"}`), metric(t, address, `taskwatch_module_missed_calls_total{module="veto"}`)
	after := look()
	t.Logf("%d of %d execs passed; %v", done, tries, m)
	if m.Calls.Vetoes != tries-done {
		t.Errorf("%d vetoes, want %d", m.Calls.Vetoes, tries-done)
	}
	// The module decides about forks and ids as well, which are skipped, too.
	if m.Skipped < done || m.Missed < m.Skipped {
		t.Errorf("%d skipped and %d missed, want %d at least", m.Skipped, m.Missed, done)
	}
	if never := m.Tier == "lsm"; never && done+m.Skipped+m.Missed > 0 || !never && m.Tier != "best-effort" {
		t.Errorf("%d passed, %d skipped and %d missed in the tier %q", done, m.Skipped, m.Missed, m.Tier)
	}
	if skipped < m.Skipped || skipped > after.Skipped || missed < m.Missed || missed > after.Missed {
		t.Errorf("the metrics are %d and %d; the list had %d and %d before, and %d and %d after", skipped, missed, m.Skipped, m.Missed, after.Skipped, after.Missed)
	}
}

var needsRefusals = testutil.Need{
	What: "a kernel that lets BPF programs refuse operations", Remedy: "run the tests in the virtual machines of test/vm",
	Met: func() bool {
		can, err := kernelRefuses()
		return can && err == nil
	},
}

// freeAddress returns an address of the loopback interface where nobody listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// metric returns the value of a series of the daemon.
func metric(t *testing.T, address, series string) uint64 {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
	got, err := client.Get("http://" + address + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	text, err := io.ReadAll(got.Body)
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(series) + ` (\d+)$`).FindSubmatch(text)
	if found == nil {
		t.Fatalf("no series %s in\n%s", series, text)
	}
	n, err := strconv.ParseUint(string(found[1]), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
