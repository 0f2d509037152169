package replay_test

import (
	"context"
	"fmt"
	"strings"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/source/replay"
)

// Watchers get the events of a recording as if they happened now.
func Example() {
	const recording = `{"event":"exec","val":0,"seq":1,"source":"ptrace","task":{"id":"a-1","pid":7,"tid":7,"exe":"/usr/bin/make","argv":["make"]}}
{"event":"exit","val":512,"seq":2,"source":"ptrace","task":{"id":"a-1","pid":7,"tid":7,"exe":"/usr/bin/make"},"exit":{"code":2}}
`
	src, err := replay.New(replay.Config{Reader: strings.NewReader(recording), Name: "build.jsonl"})
	if err != nil {
		fmt.Println(err)
		return
	}
	m := &taskwatch.Module{Name: "show"}
	m.Watch(taskwatch.Exec, func(ev *taskwatch.Event) error {
		fmt.Println("exec", ev.Task.Exe, ev.Task.Argv)
		return nil
	})
	m.Watch(taskwatch.Exit, func(ev *taskwatch.Event) error {
		fmt.Println("exit", ev.Exit.Code)
		return nil
	})
	var registry taskwatch.Registry
	if err := registry.Register(m); err != nil {
		fmt.Println(err)
		return
	}
	if err := src.Run(context.Background(), &registry); err != nil {
		fmt.Println(err)
	}
	// Output:
	// exec /usr/bin/make [make]
	// exit 2
}
