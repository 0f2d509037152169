package html

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/enrich"
)

type runtime struct{}

func (runtime) Lookup(context.Context, string) (enrich.Container, error) {
	return enrich.Container{Name: "web", Image: "nginx:1", Labels: map[string]string{"tier": "front"}}, nil
}

// A program that began before the runtime answered has the container's name at its
// end, and later ones at their beginning.
func TestContainers(t *testing.T) {
	id := strings.Repeat("ab", 32)
	names := enrich.NewNames(runtime{})
	defer names.Close()
	var out bytes.Buffer
	sink := NewSink(&out)
	sink.Names = names
	take := func(k taskwatch.Kind, ns int64, pid int) {
		sink.Take(taskwatch.Item{Event: &taskwatch.Event{Kind: k, MonoNS: ns, Exit: taskwatch.ExitStatus{Group: true}, Task: &taskwatch.Task{
			ID: taskwatch.TaskID{Run: 1, N: uint64(pid)}, PID: pid, TID: pid, Exe: "/bin/true",
			Cgroup: "/system.slice/docker-" + id + ".scope",
		}}})
	}
	take(taskwatch.Exec, 1000, 7)
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if _, ok := names.Of(id); ok {
			break
		}
	}
	take(taskwatch.Exec, 2000, 8)
	take(taskwatch.Exit, 3000, 7)
	take(taskwatch.Exit, 4000, 8)
	if err := sink.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	const want = `"container_image":"nginx:1","container_labels":{"tier":"front"},"container_name":"web"`
	told := map[byte]int{}
	for line := range strings.Lines(out.String()) {
		if strings.Contains(line, want) {
			told[line[0]]++
		}
	}
	// The first one may be quick, too.
	if told['B']+told['E'] != 2 || told['B'] == 0 {
		t.Errorf("the name is in %v lines, want one for each program:\n%s", told, out.String())
	}
}
