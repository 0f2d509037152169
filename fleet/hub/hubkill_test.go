package hub

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch/fleet"
	"github.com/taskwatch/taskwatch/fleet/operator"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

// The hub is killed at any moment of one rollout after the other, and started again: each
// comes to its end, no step is left out, and all nodes run what the last one wanted.
func TestHubIsKilledAtAnyMoment(t *testing.T) {
	file := counterModule(t)
	h := startProgram(t)
	tm := newTeam(t, h.running)
	nodes := newNodes(t, h.running, tm, 3)
	if err := tm.Upload(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	rollouts := testutil.Size(2, 4, 20)
	var last uint64
	done := make(chan error, 1)
	go func() {
		defer close(done)
		for i := range rollouts {
			e := &fleet.Entry{Module: "count", Digest: fleet.Digest(file), Expires: time.Now().Add(time.Hour), Params: map[string]string{"uid": fmt.Sprint(i)}}
			steps := 0
			r := operator.Rollout{Key: tm.key, Step: 1, Timeout: patient, OnStep: func(int, int, *operator.Outcome) { steps++ }}
			if err := r.Run(t.Context(), tm.Conn, e); err != nil || steps != len(nodes) {
				done <- fmt.Errorf("rollout %d ends after %d steps: %v", i, steps, err)
				return
			}
			last = e.Generation
		}
	}()
	killed := 0
	crash := func() {
		h.crash(t)
		h.start(t)
		killed++
	}
	crash()
	for over := false; !over; {
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
			over = true
		case <-time.After(rand.N(2 * time.Second)):
			crash()
		}
	}
	t.Logf("%d rollouts, and the hub was killed %d times", rollouts, killed)
	for _, n := range nodes {
		eventually(t, "the node runs what the last rollout wanted, and says so", func() bool { return tm.report(t, n, "count").Running == last })
	}
}
