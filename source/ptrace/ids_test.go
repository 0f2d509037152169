package ptrace

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/source"
)

// What watchers are asked about before a call is what the kernel then does:
// no change that was asked about fails to come, and none comes unasked. The
// kernel is the judge, over random calls with every kind of privilege.
func TestPredictedIDsAreTheKernels(t *testing.T) {
	testutil.Root(t)
	prog := testutil.BuildC(t, "testdata/ids.c", "-static")
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	asked := 0
	for run := range 60 {
		argv := append([]string{prog}, randomSteps(rng)...)
		var questions, changes []string
		describe := func(ev *taskwatch.Event) string {
			return fmt.Sprint(ev.Kind, ev.OldIDs, ev.Task.UID, ev.Task.GID)
		}
		ask := func(ev *taskwatch.Event) error {
			questions = append(questions, describe(ev))
			return nil
		}
		told := func(ev *taskwatch.Event) error {
			changes = append(changes, describe(ev))
			return nil
		}
		tr := watch(t, Config{Command: &source.Command{Argv: argv}},
			watching("ask", ask, nil, taskwatch.UID, taskwatch.GID),
			watching("told", told, []taskwatch.WatchOption{taskwatch.Observe()}, taskwatch.UID, taskwatch.GID))
		if tr.err != nil || tr.source.Exit().Code != 0 {
			t.Fatal(tr.err, tr.source.Exit())
		}
		if !slices.Equal(questions, changes) {
			t.Errorf("seed %d, run %d, %q:\nasked about %q\nhappened    %q", seed, run, argv[1:], questions, changes)
		}
		asked += len(questions)
	}
	if asked < 60 {
		t.Errorf("seed %d: only %d changes in 60 runs, too few to have tested anything", seed, asked)
	}
}

// randomSteps returns calls that lose privileges sooner or later.
func randomSteps(rng *rand.Rand) []string {
	names := []string{"setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setfsuid", "setfsgid"}
	ids := []string{"-1", "0", "0", "1000", "1001", "1002"}
	var steps []string
	for range 3 + rng.IntN(10) {
		step := []string{names[rng.IntN(len(names))]}
		for range 3 {
			step = append(step, ids[rng.IntN(len(ids))])
		}
		steps = append(steps, strings.Join(step, ":"))
	}
	return steps
}

// A veto of a change of ids leaves them as they were, and gives the caller
// the watcher's errno (which ids.c ignores: the ids are what counts).
func TestVetoKeepsIDs(t *testing.T) {
	testutil.Root(t)
	prog := testutil.BuildC(t, "testdata/ids.c", "-static")
	deny := func(ev *taskwatch.Event) error {
		if ev.Task.UID[taskwatch.EffectiveID] == 1000 {
			return fmt.Errorf("no user 1000")
		}
		return nil
	}
	tr := watch(t, Config{Command: &source.Command{Argv: []string{prog, "setuid:1000", "setuid:1001"}}},
		watching("deny", deny, nil, taskwatch.UID))
	if tr.err != nil {
		t.Fatal(tr.err)
	}
	uids := tr.kind(taskwatch.UID)
	if len(uids) != 1 || uids[0].OldIDs != (taskwatch.IDs{}) || uids[0].Task.UID != (taskwatch.IDs{1001, 1001, 1001, 1001}) {
		t.Errorf("uid events %+v; want one, from 0 to 1001", uids)
	}
	if len(tr.errors) != 1 || tr.errors[0].Module != "deny" || tr.errors[0].Verdict != taskwatch.Denied {
		t.Errorf("errors %v; want one veto by deny", tr.errors)
	}
}
