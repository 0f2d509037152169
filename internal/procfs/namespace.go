package procfs

import "os"

// Namespace is a kind of namespace of which the first one is known by its number
// (include/linux/proc_ns.h).
type Namespace struct{ name, initial string }

// The namespaces of users, of pids and of cgroups.
var (
	UserNamespace = Namespace{"user", "user:[4026531837]"}
	PIDNamespace  = Namespace{"pid", "pid:[4026531836]"}

	CgroupNamespace = Namespace{"cgroup", "cgroup:[4026531835]"}
)

// InInitialNamespace reports whether this process is in the machine's first
// namespace of a kind.
func InInitialNamespace(ns Namespace) (bool, error) {
	link, err := os.Readlink("/proc/self/ns/" + ns.name)
	return link == ns.initial, err
}
