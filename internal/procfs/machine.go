package procfs

import (
	"strconv"
	"strings"
)

// BootID returns what tells this boot of the machine from all others, or "" if
// /proc does not say.
func BootID() string { return word("/proc/sys/kernel/random/boot_id") }

// PtraceScope returns kernel.yama.ptrace_scope, or false where the kernel has no
// Yama.
func PtraceScope() (int, bool) { return sysctl("/proc/sys/kernel/yama/ptrace_scope") }

// MaxPID returns kernel.pid_max, and MaxThreads kernel.threads-max, or false where
// they cannot be read.
func MaxPID() (int, bool) { return sysctl("/proc/sys/kernel/pid_max") }

// MaxThreads is described at [MaxPID].
func MaxThreads() (int, bool) { return sysctl("/proc/sys/kernel/threads-max") }

// LoadAverage returns that of the last minute, or false where it cannot be read.
func LoadAverage() (float64, bool) {
	first, _, _ := strings.Cut(word("/proc/loadavg"), " ")
	n, err := strconv.ParseFloat(first, 64)
	return n, err == nil
}

// ProcessorModel returns the name of the processors, or "" where the kernel has
// none.
func ProcessorModel() string {
	b, err := ReadFile("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func sysctl(file string) (int, bool) {
	n, err := strconv.Atoi(word(file))
	return n, err == nil
}

// word returns the content of a file without the space around it.
func word(file string) string {
	b, err := ReadFile(file)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
