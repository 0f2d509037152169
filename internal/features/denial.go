package features

import (
	"bufio"
	"os"
	"strings"

	"github.com/taskwatch/taskwatch/internal/procfs"
)

// denial says what may have denied something to a process that has the
// capabilities for it, and what helps; "" where nothing is known.
func denial(status, uidMap, lockdown string) string {
	if m := strings.Fields(uidMap); len(m) != 0 && (len(m) != 3 || m[0] != "0" || m[1] != "0" || m[2] != "4294967295") {
		return "this process is in a user namespace (a rootless container), and its capabilities count for nothing outside: run taskwatch outside of it"
	}
	if seccompOf(status) == "2" {
		return "a seccomp filter (of a container or a service) may have denied it: allow the system calls bpf and perf_event_open (docker, podman: " +
			"--security-opt seccomp=PROFILE or unconfined; systemd: SystemCallFilter=bpf perf_event_open)"
	}
	if strings.Contains(lockdown, "[integrity]") || strings.Contains(lockdown, "[confidentiality]") {
		return "the kernel is locked down (" + strings.TrimSpace(lockdown) + "), which Secure Boot may do: boot with lockdown=none"
	}
	return ""
}

// seccompOf returns the mode in the text of /proc/PID/status: "2" is a filter.
func seccompOf(status string) string {
	lines := bufio.NewScanner(strings.NewReader(status))
	for lines.Scan() {
		if mode, ok := strings.CutPrefix(lines.Text(), "Seccomp:"); ok {
			return strings.TrimSpace(mode)
		}
	}
	return ""
}

// denied returns denial of this process. A file that cannot be read says
// nothing.
func denied() string {
	text := func(b []byte, err error) string {
		if err != nil {
			return ""
		}
		return string(b)
	}
	return denial(text(procfs.ReadOwn("status")), text(procfs.ReadOwn("uid_map")), text(os.ReadFile("/sys/kernel/security/lockdown")))
}

// Denied returns what may have denied something to this process although it
// has the capabilities, with what helps, or "".
func Denied() string {
	if !privileged() {
		return ""
	}
	return denied()
}
