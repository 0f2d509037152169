package vm

// Kernel parameters that select the active Linux security modules. Debian's
// cloud kernels have bpf in their default list; CmdlineNoBPF leaves it out,
// which is how many other distributions come.
const (
	CmdlineBPF   = "lsm=landlock,yama,apparmor,bpf"
	CmdlineNoBPF = "lsm=landlock,yama,apparmor"
)
