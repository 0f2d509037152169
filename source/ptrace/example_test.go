package ptrace_test

import (
	"context"
	"fmt"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/source"
	"github.com/taskwatch/taskwatch/source/ptrace"
)

// A command and its descendants are watched, without privileges. Run returns
// when the last of them has ended.
func Example() {
	src, err := ptrace.New(ptrace.Config{Command: &source.Command{Path: "/bin/sh", Argv: []string{"sh", "-c", "(exit 3); exit 0"}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	m := &taskwatch.Module{Name: "failures"}
	m.Watch(taskwatch.Exit, func(ev *taskwatch.Event) error {
		if ev.Exit.Code != 0 {
			fmt.Println("a process failed with", ev.Exit.Code)
		}
		return nil
	}, taskwatch.Observe())
	var registry taskwatch.Registry
	if err := registry.Register(m); err != nil {
		fmt.Println(err)
		return
	}
	if err := src.Run(context.Background(), &registry); err != nil {
		fmt.Println(err)
	}
	// Output: a process failed with 3
}
