package kernel_test

import (
	"fmt"
	"os/exec"
	"testing"

	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/module/kernel"
	"github.com/taskwatch/taskwatch/modules"
)

// A module runs in the kernel, and no event comes to this process. It needs root.
func Example() {
	object, err := kernel.Parse("twbench", modules.Find("twbench").Object())
	if err != nil {
		fmt.Println(err)
		return
	}
	table, err := kernel.NewTable(kernel.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer table.Close()
	m, err := object.Load(kernel.LoadOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer m.Close()
	if err := table.Register(m, kernel.RegisterOptions{}); err != nil {
		fmt.Println(err)
		return
	}
	defer table.Unregister(m)
	_ = exec.Command("true").Run()
	globals, err := m.Globals()
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, g := range globals {
		if g.Name == "exits" && g.Value.(uint64) > 0 {
			fmt.Println("tasks have ended")
		}
	}
}

func TestExample(t *testing.T) {
	testutil.Root(t)
	if got := testutil.Stdout(t, Example); got != "tasks have ended\n" {
		t.Errorf("the example prints %q", got)
	}
}
