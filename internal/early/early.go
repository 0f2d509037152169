// Package early is initialised before most of the program: it does what should be done
// before that, or beside it.
package early

import (
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/kerneltypes"
	"github.com/taskwatch/taskwatch/internal/sys"
)

// Signals are those that taskwatch passes on to a command.
var Signals = append([]syscall.Signal{
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

var taken, err = take()

// take takes signals away from Go's run time, which ignores most of them, if this process
// is going to run a command.
func take() (*sys.Catcher, error) {
	if len(os.Args) < 2 || os.Args[1] != "run" {
		return nil, nil
	}
	c, err := sys.NewCatcher(Signals)
	delayCollections()
	if os.Geteuid() == 0 && !slices.ContainsFunc(flags(os.Args[2:]), namesOther) {
		kerneltypes.ReadAhead()
	}
	return c, err
}

// flags returns what stands before the command.
func flags(args []string) []string {
	if end := slices.Index(args, "--"); end >= 0 {
		return args[:end]
	}
	return args
}

// namesOther reports whether an argument is likely to choose a source that needs
// nothing of the kernel's types.
func namesOther(arg string) bool {
	return strings.HasSuffix(arg, "ptrace") || strings.HasSuffix(arg, "daemon")
}

// What a source reads at its start is a few megabytes, and garbage soon. To collect
// it at once would take time from the command's own start, and most commands end
// earlier than is worth it.
const (
	undisturbed = time.Second
	roomMeant   = 256 << 20 // bytes of memory, above which garbage is collected anyway
)

func delayCollections() {
	percent, limit := debug.SetGCPercent(-1), debug.SetMemoryLimit(-1)
	if limit > roomMeant {
		debug.SetMemoryLimit(roomMeant)
	}
	time.AfterFunc(undisturbed, func() {
		debug.SetMemoryLimit(limit)
		debug.SetGCPercent(percent)
	})
}

// Catcher returns a catcher of the signals, which were taken when this process began if
// its command line says that it runs a command, or else are now. It is to be closed.
func Catcher() (*sys.Catcher, error) {
	if taken == nil && err == nil {
		return sys.NewCatcher(Signals)
	}
	return taken, err
}
