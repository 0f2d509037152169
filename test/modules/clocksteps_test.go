package modules

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/taskwatch/taskwatch/daemon/api"
	"github.com/taskwatch/taskwatch/internal/testmodule"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

// Whatever the wall clock is set to while a module is loaded, it denies what it
// denies, and what is told of that has the times at which it happened.
func TestVetoesWhenTheClockIsSet(t *testing.T) {
	testutil.Require(t, testutil.NeedsRoot, testutil.NeedsClock, needsRefusals)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute) // bounds a failure, by the clock that nobody sets
	defer cancel()
	attempts := testutil.BuildC(t, "-static", "testdata/attempts.c")
	client := serve(t, ours)
	if _, err := client.Load(ctx, connect.NewRequest(&api.LoadRequest{
		Name: "verdicts", File: testmodule.Object(t, "testdata/modules/verdicts.c"), AllowBestEffort: true, Params: map[string]string{"gid": fmt.Sprint(group)},
	})); err != nil {
		t.Fatal(err)
	}
	stream, err := client.Events(ctx, connect.NewRequest(&api.EventsRequest{Events: []string{"init", "exec", "uid", "gid"}}))
	if err != nil || !stream.Receive() {
		t.Fatal(err, stream.Err())
	}
	defer stream.Close()
	try := func(t *testing.T) {
		t.Helper()
		before := testutil.ReadClocks()
		if out, err := exec.Command(attempts, fmt.Sprint(group)).CombinedOutput(); err != nil || string(out) != refused {
			t.Errorf("%s, %v; want %s", out, err, refused)
		}
		after := testutil.ReadClocks()
		last := exec.Command(attempts, "exit")
		last.Args[0] = "last"
		if err := last.Run(); err != nil {
			t.Fatal(err)
		}
		told := failures(t, stream, last.Args)
		if lines, want := inShort(told), shortVerdicts(true); !slices.Equal(lines, want) {
			t.Errorf("the stream says\n%q, want\n%q", lines, want)
		}
		for _, f := range told {
			if at := (testutil.Clocks{Wall: f.Event.Time, Mono: f.Event.MonoNS}); !at.Between(before, after) {
				t.Errorf("%v at %v, want it between %v and %v", f.Event.Kind, at, before, after)
			}
		}
	}
	try(t)
	for _, by := range testutil.ClockSteps {
		t.Run(by.String(), func(t *testing.T) {
			testutil.StepClock(t, by)
			try(t)
		})
	}
	try(t)
	list, err := client.List(ctx, connect.NewRequest(&api.ListRequest{}))
	if err != nil {
		t.Fatal(err)
	}
	n := uint64(4 * (2 + len(testutil.ClockSteps)))
	if m := list.Msg.Modules; len(m) != 1 || m[0].Calls.Vetoes != n || m[0].Calls.Errors != n {
		t.Errorf("the list says %v, want %d vetoes", m, n)
	}
}
