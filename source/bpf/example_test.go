package bpf_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/source"
	"github.com/taskwatch/taskwatch/source/bpf"
)

// Run starts the command and returns when it and its descendants have ended.
// Without Command, PID and Cgroup the whole machine is watched until the context
// ends. Either needs root.
func Example() {
	src, err := bpf.New(bpf.Config{Command: &source.Command{Path: "/bin/true", Argv: []string{"true"}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	m := &taskwatch.Module{Name: "programs"}
	m.Watch(taskwatch.Exec, func(ev *taskwatch.Event) error {
		fmt.Println("ran", ev.Task.Argv)
		return nil
	}, taskwatch.Observe(), taskwatch.Reads(taskwatch.FieldArgv))
	var registry taskwatch.Registry
	if err := registry.Register(m); err != nil {
		fmt.Println(err)
		return
	}
	if err := src.Run(context.Background(), &registry); err != nil {
		fmt.Println(err)
	}
}

func TestExample(t *testing.T) {
	testutil.Root(t)
	if got := testutil.Stdout(t, Example); got != "ran [true]\n" {
		t.Errorf("the example prints %q", got)
	}
}
