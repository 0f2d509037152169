package bpf

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/source"
)

// A signal that its sender sends to this process and to the command has reached the
// command, whichever was first, and one to this process alone has not.
func TestReached(t *testing.T) {
	testutil.Root(t)
	caught := make(chan os.Signal, 10)
	signal.Notify(caught, unix.SIGWINCH)
	defer signal.Stop(caught)
	w := newWatch(t, Config{Command: command(t, "stay")}, taskwatch.KindsOf(taskwatch.Exec), func(*taskwatch.Event) bool { return true })
	own, to := fmt.Sprint(os.Getpid()), fmt.Sprint(w.src.command.Started())
	for _, test := range []struct {
		pids []string
		had  bool
	}{
		{[]string{own, to}, true}, {[]string{own}, false}, {[]string{to, own}, true}, {[]string{own}, false},
	} {
		// A shell sends it itself, so that one process sends both.
		sh := exec.Command("sh", "-c", "kill -WINCH "+strings.Join(test.pids, "; kill -WINCH "))
		if out, err := sh.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		<-caught
		had, known := w.src.Reached(source.Signal{Number: unix.SIGWINCH, Sender: sh.Process.Pid}, 100*time.Millisecond)
		if had != test.had || !known {
			t.Errorf("sent to %q (this is %s): the command has had it: %v, known: %v; want %v", test.pids, own, had, known, test.had)
		}
	}
	if err := w.src.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	w.wait(t)
}
