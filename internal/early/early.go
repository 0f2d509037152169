// Package early is initialised before most of the program: it does what should be done
// before that. So it imports only what package sys imports: whatever is imported comes
// first, in the order of the names, and runtime/debug is behind a hundred packages.
package early

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/sys"
)

// signals are those that taskwatch passes on to a command.
var signals = append([]syscall.Signal{
	unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGABRT,
	unix.SIGUSR1, unix.SIGUSR2,
	unix.SIGALRM, unix.SIGVTALRM, unix.SIGPROF, unix.SIGXCPU, unix.SIGIO, unix.SIGPWR,
	unix.SIGWINCH,
	unix.SIGTSTP, unix.SIGTTIN, unix.SIGCONT,
	// Not SIGTTOU: it comes of what we write ourselves, and would come again
	// for as long as it is caught. Nor SIGPIPE and SIGXFSZ, which our own
	// writes cause. SIGCHLD and SIGURG are for Go's run time.
}, realtime()...)

// realtime returns the real-time signals but 32 to 34, which are for C libraries.
func realtime() (list []syscall.Signal) {
	for sig := syscall.Signal(35); sig <= 64; sig++ {
		list = append(list, sig)
	}
	return list
}

// Runs reports whether this process is going to run a command, as its command line says.
func Runs() bool { return len(os.Args) > 1 && os.Args[1] == "run" }

var taken, err = take()

// take takes signals away from Go's run time, which ignores most of them.
func take() (*sys.Catcher, error) {
	if !Runs() {
		return nil, nil
	}
	return sys.NewCatcher(signals)
}

// Catcher returns a catcher of the signals, which were taken when this process began if
// its command line says that it runs a command, or else are now. It is to be closed.
func Catcher() (*sys.Catcher, error) {
	if taken == nil && err == nil {
		return sys.NewCatcher(signals)
	}
	return taken, err
}
