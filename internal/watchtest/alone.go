package watchtest

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/taskwatch/taskwatch"
)

// outcome is what a command came to, as far as it is the same each time.
type outcome struct {
	status taskwatch.ExitStatus
	notes  []string // of different tasks, sorted, because they come in any order
	stderr []byte
}

func (r *run) outcome() *outcome {
	return &outcome{r.status, slices.Sorted(slices.Values(r.truth.notes)), r.stderr}
}

// outcomes are those of commands without any source, which are run once each: a
// suite has the same command watched in many ways.
var outcomes struct {
	mu     sync.Mutex
	byArgv map[string]*outcome
}

// outcomeAlone returns the outcome of a command without any source, or nil and
// why there is none.
func outcomeAlone(t testing.TB, cfg *Config, argv []string) (*outcome, []string) {
	outcomes.mu.Lock()
	defer outcomes.mu.Unlock()
	key := strings.Join(argv, "\x00")
	if o := outcomes.byArgv[key]; o != nil {
		return o, nil
	}
	r := &run{t: t, cfg: cfg}
	if !r.bare(argv) {
		return nil, r.problems
	}
	if outcomes.byArgv == nil {
		outcomes.byArgv = map[string]*outcome{}
	}
	outcomes.byArgv[key] = r.outcome()
	return outcomes.byArgv[key], nil
}

// untouched checks that the workload noticed nothing of the source.
func (r *run) untouched(alone *outcome) {
	got := r.outcome()
	if got.status != alone.status {
		r.problem("the command's own exit status is %+v; without the source it is %+v", got.status, alone.status)
	}
	if !slices.Equal(got.notes, alone.notes) {
		r.problem("the workload saw\n\t%s\nwithout the source it saw\n\t%s", strings.Join(got.notes, " "), strings.Join(alone.notes, " "))
	}
	if string(got.stderr) != string(alone.stderr) {
		r.problem("on stderr came %q; without the source it was %q", got.stderr, alone.stderr)
	}
}
