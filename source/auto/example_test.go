package auto_test

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/source/auto"
)

func TestMain(m *testing.M) { testutil.Main(m) }

// The best source that works watches the machine: bpf, or else connector.
func Example() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var cfg auto.Config
	cfg.OnReady = func() {
		if err := exec.Command("/bin/true").Run(); err != nil {
			fmt.Println(err)
			cancel()
		}
	}
	src, passed, err := auto.Open(auto.Name, cfg)
	if err != nil {
		fmt.Println(err)
		return
	}
	if passed != nil {
		fmt.Println("a better source cannot be used:", passed)
	}
	m := &taskwatch.Module{Name: "first"}
	seen := false
	m.Watch(taskwatch.Exit, func(ev *taskwatch.Event) error {
		if !seen {
			seen = true
			fmt.Println("something exited")
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
}

func TestExample(t *testing.T) {
	testutil.Root(t)
	if got := testutil.Stdout(t, Example); !strings.HasSuffix(got, "something exited\n") {
		t.Errorf("the example prints %q", got)
	}
}
