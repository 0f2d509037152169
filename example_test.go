package taskwatch_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"github.com/taskwatch/taskwatch"
)

// A watcher prints the programs that run. It reads one field, and a source
// need not gather the others for it.
func Example() {
	m := &taskwatch.Module{Name: "programs"}
	m.Watch(taskwatch.Exec, func(ev *taskwatch.Event) error {
		fmt.Println(ev.Task.Exe)
		return nil
	}, taskwatch.Observe(), taskwatch.Reads(taskwatch.FieldExe))

	var registry taskwatch.Registry // a source's Run is handed this one
	if err := registry.Register(m); err != nil {
		fmt.Println(err)
		return
	}
	feed := registry.Feed() // and does this:
	feed.Notify(&taskwatch.Event{Kind: taskwatch.Exec, Task: &taskwatch.Task{Exe: "/usr/bin/true"}})
	if err := registry.Unregister(m); err != nil {
		fmt.Println(err)
	}
	feed.Notify(&taskwatch.Event{Kind: taskwatch.Exec, Task: &taskwatch.Task{Exe: "/usr/bin/false"}})
	// Output: /usr/bin/true
}

// A watcher's error on a kind that can be vetoed makes the system call fail
// with its errno, on a source that can deny it.
func ExampleModule_Watch() {
	guard := &taskwatch.Module{Name: "guard"}
	guard.Watch(taskwatch.Exec, func(ev *taskwatch.Event) error {
		if strings.HasPrefix(ev.Task.Exe, "/tmp/") {
			return fmt.Errorf("no programs from /tmp: %w", syscall.EACCES)
		}
		return nil
	})
	var registry taskwatch.Registry
	if err := registry.Register(guard); err != nil {
		fmt.Println(err)
		return
	}

	// A source that asks beforehand says what it can deny, and has the
	// operation fail:
	feed := registry.Feed()
	feed.Deny = taskwatch.KindsOf(taskwatch.Exec)
	err := feed.NotifyBefore(&taskwatch.Event{Kind: taskwatch.Exec, Task: &taskwatch.Task{Exe: "/tmp/x"}})
	if errno := taskwatch.Denial(err); errno != 0 {
		fmt.Printf("execve fails with %d: %v\n", errno, errors.Unwrap(err))
	}
	// Output: execve fails with 13: no programs from /tmp: permission denied
}

// tsv is a sink that writes a line per item.
type tsv struct {
	out *bufio.Writer
	err error
}

func (s *tsv) Wants() taskwatch.Wants {
	return taskwatch.Wants{taskwatch.Exec: taskwatch.FieldPID | taskwatch.FieldExe, taskwatch.Exit: taskwatch.FieldPID}
}

func (s *tsv) Take(it taskwatch.Item) {
	switch {
	case s.err != nil:
	case it.Event != nil && it.Event.Kind == taskwatch.Exec:
		_, s.err = fmt.Fprintf(s.out, "%d\texec\t%s\n", it.Event.Task.PID, it.Event.Task.Exe)
	case it.Event != nil:
		_, s.err = fmt.Fprintf(s.out, "%d\t%s\n", it.Event.Task.PID, it.Event.Kind)
	case it.Failure != nil:
		_, s.err = fmt.Fprintf(s.out, "%s\t%s\t%v\n", it.Failure.Module, it.Failure.Verdict, it.Failure.Err)
	case it.Record != nil:
		_, s.err = fmt.Fprintf(s.out, "%s\tsent\t%s\n", it.Record.Module, it.Record.Data)
	case it.Loss != nil:
		_, s.err = fmt.Fprintf(s.out, "%d lost\n", it.Loss.Count)
	}
}

func (s *tsv) Close(context.Context) error { return errors.Join(s.err, s.out.Flush()) }

// A sink gets whatever is reported, in one order: here behind a queue, so that
// a slow reader loses items, with a count, rather than hold up the source.
func ExampleSink() {
	var registry taskwatch.Registry
	sink := taskwatch.NewQueue(&tsv{out: bufio.NewWriter(os.Stdout)}, taskwatch.QueueOptions{})
	if err := registry.Attach(sink); err != nil {
		fmt.Println(err)
		return
	}
	m := &taskwatch.Module{Name: "greeter"}
	m.Watch(taskwatch.Exec, func(ev *taskwatch.Event) error {
		ev.Send("greeter", []byte("hello"))
		return errors.New("no more")
	})
	if err := registry.Register(m); err != nil {
		fmt.Println(err)
		return
	}
	feed, task := registry.Feed(), &taskwatch.Task{PID: 7, TID: 7, Exe: "/usr/bin/true"}
	feed.Notify(&taskwatch.Event{Kind: taskwatch.Exec, Task: task})
	feed.Deliver(taskwatch.Item{Loss: &taskwatch.Loss{Count: 17}})
	feed.Notify(&taskwatch.Event{Kind: taskwatch.Exit, Task: task})
	if err := registry.Detach(context.Background(), sink); err != nil {
		fmt.Println(err)
	}
	// Output:
	// 7	exec	/usr/bin/true
	// greeter	sent	hello
	// greeter	counted	no more
	// 17 lost
	// 7	exit
}

// A task keeps a value for a watcher from one event to the next; it is
// dropped after the task's free event.
func ExampleStorage() {
	execs := taskwatch.NewStorage[int]()
	m := &taskwatch.Module{Name: "execs"}
	m.Watch(taskwatch.Exec, func(ev *taskwatch.Event) error {
		n, _ := execs.Get(ev.Task)
		execs.Set(ev.Task, n+1)
		return nil
	})
	m.Watch(taskwatch.Exit, func(ev *taskwatch.Event) error {
		n, _ := execs.Get(ev.Task)
		fmt.Printf("task %d ran %d programs\n", ev.Task.TID, n)
		return nil
	})
	var registry taskwatch.Registry
	if err := registry.Register(m); err != nil {
		fmt.Println(err)
		return
	}
	feed, task := registry.Feed(), &taskwatch.Task{PID: 7, TID: 7}
	for _, k := range []taskwatch.Kind{taskwatch.Exec, taskwatch.Exec, taskwatch.Exit, taskwatch.Free} {
		feed.Notify(&taskwatch.Event{Kind: k, Task: task})
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

// What wants to keep an event clones it: the source uses its own for the next
// one.
func ExampleEvent_Clone() {
	var kept *taskwatch.Event
	var registry taskwatch.Registry
	err := registry.Attach(taskwatch.NewSink(taskwatch.WantAll(taskwatch.AllKinds), func(it taskwatch.Item) {
		kept = it.Event.Clone()
	}))
	if err != nil {
		fmt.Println(err)
		return
	}
	ev := &taskwatch.Event{Kind: taskwatch.Exit, Val: 3 << 8, Task: &taskwatch.Task{TID: 9}}
	registry.Feed().Notify(ev)
	*ev = taskwatch.Event{}
	fmt.Println(kept.Kind, kept.Task.TID, taskwatch.DecodeExit(kept.Val).Code)
	// Output: exit 9 3
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
