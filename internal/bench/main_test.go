package bench

import (
	"fmt"
	"os"
	"testing"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

// childArg makes the test binary a watcher: see Child.
const childArg = "bench-child"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == childArg {
		if err := Child(os.Args[2:], os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	testutil.Main(m)
}
