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
	link, err := ownNamespace(ns)
	return link == ns.initial, err
}

// InNamespace reports whether a task is in this process's namespace of a kind. What
// cannot be read is taken to be so.
func InNamespace(tid int, ns Namespace) bool {
	own, err := ownNamespace(ns)
	if err != nil {
		return true
	}
	its, err := os.Readlink(Path(tid, "ns/"+ns.name))
	return err != nil || its == own
}

func ownNamespace(ns Namespace) (string, error) { return os.Readlink("/proc/self/ns/" + ns.name) }
