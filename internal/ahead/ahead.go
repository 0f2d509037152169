// Package ahead begins, as soon as it is initialised, with what the start of a command
// under bpf waits for longest, beside the initialisation of the rest of the program.
// Garbage is not collected for that long.
package ahead

import (
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/taskwatch/taskwatch/internal/early"
	"github.com/taskwatch/taskwatch/internal/kerneltypes"
)

func init() {
	if !early.Runs() {
		return
	}
	delayCollections()
	if os.Geteuid() == 0 && !slices.ContainsFunc(flags(os.Args[2:]), namesOther) {
		kerneltypes.ReadAhead()
	}
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
