package daemon

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/enrich"
)

type containerRuntime struct{}

func (containerRuntime) Lookup(context.Context, string) (enrich.Container, error) {
	return enrich.Container{Name: "web", Labels: map[string]string{"tier": "front"}}, nil
}

// An expression may ask for names and labels of containers, if its client may be
// told; for others they stay unknown.
func TestStreamsByContainer(t *testing.T) {
	names := enrich.NewNames(containerRuntime{})
	defer names.Close()
	asked := 0
	d := &Daemon{cfg: Config{ContainerNames: func() *enrich.Names { asked++; return names }}}
	ev := &taskwatch.Event{Kind: taskwatch.Exec, Task: &taskwatch.Task{PID: 1, Cgroup: "/system.slice/docker-" + strings.Repeat("ab", 32) + ".scope"}}
	for _, c := range []struct {
		where     string
		may, want bool
	}{
		{`container.name == "web"`, true, true},
		{`container.labels["tier"] == "back"`, true, false},
		{`container.name == "web"`, false, false},
		{`pid == 1`, true, true},
	} {
		s, err := newStream(&choice{where: c.where, hide: true})
		if err != nil {
			t.Fatal(err)
		}
		before := asked
		d.useNames(s, c.may)
		if reads := strings.Contains(c.where, "container"); (asked > before) != (reads && c.may) {
			t.Errorf("%s: names were asked for: %v", c.where, asked > before)
		}
		got := s.chooses(taskwatch.Item{Event: ev})
		for deadline := time.Now().Add(time.Minute); c.want && !got && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			got = s.chooses(taskwatch.Item{Event: ev})
		}
		if got != c.want {
			t.Errorf("%s, for a client that may know (%v): chosen %v, want %v", c.where, c.may, got, c.want)
		}
	}
}
