package taskwatch_test

import (
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/taskwatch/taskwatch"
)

// A module counts the programs that run, and goes again.
func Example() {
	var execs int
	counter := &taskwatch.Module{Name: "counter"}
	counter.Table[taskwatch.Exec] = []taskwatch.Watcher{func(ev *taskwatch.Event) error {
		execs++
		return nil
	}}

	var registry taskwatch.Registry // a source's Run is handed this one
	if err := registry.Register(counter); err != nil {
		fmt.Println(err)
		return
	}
	task := &taskwatch.Task{PID: 161, TID: 161, Exe: "/usr/bin/true", Argv: []string{"true"}}
	registry.Notify(&taskwatch.Event{Kind: taskwatch.Exec, Task: task}) // as a source does
	if err := registry.Unregister(counter); err != nil {
		fmt.Println(err)
		return
	}
	registry.Notify(&taskwatch.Event{Kind: taskwatch.Exec, Task: task})
	fmt.Println(execs)
	// Output: 1
}

// A watcher's error on a kind that can be vetoed makes the system call fail
// with its errno, on a source that can deliver a veto.
func ExampleWatcher_veto() {
	guard := &taskwatch.Module{Name: "guard"}
	guard.Table[taskwatch.Exec] = []taskwatch.Watcher{func(ev *taskwatch.Event) error {
		if strings.HasPrefix(ev.Task.Exe, "/tmp/") {
			return fmt.Errorf("no programs from /tmp: %w", syscall.EACCES)
		}
		return nil
	}}
	var registry taskwatch.Registry
	if err := registry.Register(guard); err != nil {
		fmt.Println(err)
		return
	}

	// What a source that asks beforehand does with the answer:
	err := registry.NotifyBefore(&taskwatch.Event{
		Kind: taskwatch.Exec,
		Task: &taskwatch.Task{Exe: "/tmp/x"},
	})
	var we *taskwatch.WatcherError
	if errors.As(err, &we) && we.Veto {
		fmt.Printf("%s refuses, execve fails with %d: %v\n", we.Module, taskwatch.Errno(err), we.Err)
	}
	// Output: guard refuses, execve fails with 13: no programs from /tmp: permission denied
}

// A task keeps a value for a watcher from one event to the next; it is
// dropped after the task's free event.
func ExampleStorage() {
	execs := taskwatch.NewStorage[int]()
	m := &taskwatch.Module{Name: "execs"}
	m.Table[taskwatch.Exec] = []taskwatch.Watcher{func(ev *taskwatch.Event) error {
		n, _ := execs.Get(ev.Task)
		execs.Set(ev.Task, n+1)
		return nil
	}}
	m.Table[taskwatch.Exit] = []taskwatch.Watcher{func(ev *taskwatch.Event) error {
		n, _ := execs.Get(ev.Task)
		fmt.Printf("task %d ran %d programs\n", ev.Task.TID, n)
		return nil
	}}
	var registry taskwatch.Registry
	if err := registry.Register(m); err != nil {
		fmt.Println(err)
		return
	}
	task := &taskwatch.Task{PID: 7, TID: 7}
	for _, k := range []taskwatch.Kind{taskwatch.Exec, taskwatch.Exec, taskwatch.Exit, taskwatch.Free} {
		registry.Notify(&taskwatch.Event{Kind: k, Task: task})
	}
	_, kept := execs.Get(task)
	fmt.Println(kept)
	// Output:
	// task 7 ran 2 programs
	// false
}

// Built-ins are added by init functions, and need no registration.
func ExampleBuiltin() {
	// func init() {
	taskwatch.Builtin(taskwatch.Free, func(ev *taskwatch.Event) error {
		fmt.Println("gone:", ev.Task.ID)
		return nil
	})
	// }
}

// A watcher that wants to keep an event clones it: the source uses its own
// for the next one.
func ExampleEvent_Clone() {
	events := make(chan *taskwatch.Event, 100)
	m := &taskwatch.Module{Name: "queue", Observer: true}
	m.Table[taskwatch.Exit] = []taskwatch.Watcher{func(ev *taskwatch.Event) error {
		select {
		case events <- ev.Clone():
			return nil
		default:
			return errors.New("the queue is full: event dropped")
		}
	}}
	var registry taskwatch.Registry
	if err := registry.Register(m); err != nil {
		fmt.Println(err)
		return
	}
	ev := &taskwatch.Event{Kind: taskwatch.Exit, Val: 3 << 8, Task: &taskwatch.Task{TID: 9}}
	registry.Notify(ev)
	ev.Reset()
	kept := <-events
	fmt.Println(kept.Kind, kept.Task.TID, taskwatch.DecodeExit(kept.Val).Code)
	// Output: exit 9 3
}

// Errors of any module's watchers, and losses of the source, can be heard of.
func ExampleModule_hooks() {
	m := &taskwatch.Module{
		Name:    "log",
		OnError: func(we *taskwatch.WatcherError) { fmt.Println(we.Module, "failed on", we.Kind) },
		OnLost:  func(l taskwatch.Loss) { fmt.Println("lost", l.Count) },
	}
	faulty := &taskwatch.Module{Name: "faulty"}
	faulty.Table[taskwatch.Exit] = []taskwatch.Watcher{func(*taskwatch.Event) error { panic("a bug") }}
	var registry taskwatch.Registry
	for _, m := range []*taskwatch.Module{m, faulty} {
		if err := registry.Register(m); err != nil {
			fmt.Println(err)
			return
		}
	}
	registry.Notify(&taskwatch.Event{Kind: taskwatch.Exit, Task: &taskwatch.Task{}})
	registry.NotifyLost(taskwatch.Loss{Count: 17})
	fmt.Println(registry.Modules()[1].Panics)
	// Output:
	// faulty failed on exit
	// lost 17
	// 1
}

func ExampleParseKinds() {
	kinds, err := taskwatch.ParseKinds("exec,exit")
	fmt.Println(kinds, kinds.Has(taskwatch.Free), err)
	_, err = taskwatch.ParseKinds("exec,exits")
	fmt.Println(err)
	// Output:
	// exec,exit false <nil>
	// taskwatch: unknown event "exits": events are init, clone, exec, uid, gid, exit, free
}
