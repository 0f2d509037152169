package connector

import (
	"context"
	"fmt"
	"os/exec"
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

// The machine is watched until the context ends; here, until a command that was
// started when watching had begun has exited.
func Example() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	command := exec.Command("/bin/true")
	started := make(chan int, 1)
	src, err := New(Config{OnReady: func() {
		if err := command.Start(); err != nil {
			fmt.Println(err)
			cancel()
			return
		}
		started <- command.Process.Pid
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	pid := 0
	m := &taskwatch.Module{Name: "wait"}
	m.Watch(taskwatch.Exit, func(ev *taskwatch.Event) error {
		if pid == 0 {
			pid = <-started // OnReady comes before the first event
		}
		if ev.Task.TID == pid {
			fmt.Println("it exited with", ev.Exit.Code)
			cancel()
		}
		return nil
	})
	var registry taskwatch.Registry
	if err := registry.Register(m); err != nil {
		fmt.Println(err)
		return
	}
	if err := src.Run(ctx, &registry); err != nil {
		fmt.Println(err)
	}
	if err := command.Wait(); err != nil {
		fmt.Println(err)
	}
}

func TestExample(t *testing.T) {
	requireConnector(t)
	if got := testutil.Stdout(t, Example); got != "it exited with 0\n" {
		t.Errorf("the example prints %q", got)
	}
}
