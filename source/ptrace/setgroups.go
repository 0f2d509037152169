package ptrace

import (
	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/procfs"
)

// maxGroups is NGROUPS_MAX of linux/limits.h.
const maxGroups = 65536

func isSetGroups(name string) bool { return name == "setgroups" || name == "setgroups32" }

// askGroups calls the watchers that may veto about a setgroups of n groups,
// unless the kernel is going to reject it.
func (t *tracer) askGroups(tr *tracee, st *procfs.Status, n uint32) unix.Errno {
	if !t.vetoes.Has(taskwatch.GID) || n > maxGroups || st.CapEff>>capSetGID&1 == 0 {
		return 0
	}
	return t.askIDs(tr, taskwatch.GID, &tr.task.GID, st.GID, st.GID, taskwatch.CauseSetGroups)
}
