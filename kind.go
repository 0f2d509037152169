package taskwatch

import (
	"fmt"
	"strings"
)

// Kind says which of the seven life events of a task happened.
type Kind uint8

// The seven kinds, in the order of WATCH_TASK_* in the patch of 2006.
const (
	// Init comes early in fork or clone, when the new task first exists. It
	// has no pid yet. Val holds the clone flags. A watcher's error makes the
	// fork fail, where the source can veto.
	Init Kind = iota
	// Clone comes just before fork or clone returns success and before the
	// child runs. Val holds the clone flags.
	Clone
	// Exec comes when execve is about to return success. Watchers that may veto
	// are called before the old program is gone. Val is 0.
	Exec
	// UID comes when a real, effective, saved or file system user id changes.
	UID
	// GID is the same for group ids, and comes when setgroups has replaced the
	// supplementary groups: see CauseSetGroups.
	GID
	// Exit comes at the start of exit, whatever the reason. Val is the exit
	// code as the kernel keeps it, which is the wait status.
	Exit
	// Free is the last event a task ever gets. Val is the exit code, or 0
	// for a task whose fork failed after Init.
	Free

	// NumKinds is the number of kinds.
	NumKinds = 7
)

// Attach and Detach are no kinds of event: a module has lists of watchers for
// them, too, and no set of kinds has them. See [Module.Watch].
const (
	// Attach comes once for each task that exists when the module is
	// registered, or that the source comes to know later without an init.
	Attach Kind = NumKinds + iota

	// Detach comes once for each task that the module knows, by init or attach,
	// and that is still there when it is unregistered, or that the source loses
	// sight of without a free.
	Detach

	// NumLists is the number of a module's lists: of the kinds, and these two.
	NumLists = NumKinds + 2
)

var kindNames = [NumLists]string{"init", "clone", "exec", "uid", "gid", "exit", "free", "attach", "detach"}

// String returns the kind's name as written in recordings and on the command
// line, "attach" or "detach", or "kind(N)" for a value that is none of these.
func (k Kind) String() string {
	if k < NumLists {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Vetoable reports whether a watcher's error on k can deny the operation, with
// a source that can deny at all.
func (k Kind) Vetoable() bool {
	return vetoable.Has(k)
}

const vetoable Kinds = 1<<Init | 1<<Exec | 1<<UID | 1<<GID

// ParseKind returns the kind with the given name.
func ParseKind(name string) (Kind, error) {
	if k, err := ParseList(name); err == nil && k < NumKinds {
		return k, nil
	}
	return 0, fmt.Errorf("taskwatch: unknown event %q: events are %s", name, strings.Join(kindNames[:NumKinds], ", "))
}

// ParseList returns the kind with the given name, or [Attach] or [Detach].
func ParseList(name string) (Kind, error) {
	for k, n := range kindNames {
		if n == name {
			return Kind(k), nil
		}
	}
	return 0, fmt.Errorf("taskwatch: %q is none of %s", name, strings.Join(kindNames[:], ", "))
}

// Kinds is a set of kinds; the zero value is the empty set.
type Kinds uint32

// AllKinds holds every kind.
const AllKinds Kinds = 1<<NumKinds - 1

// KindsOf returns the set of the given kinds. Values that are no kind are
// left out.
func KindsOf(kinds ...Kind) Kinds {
	var s Kinds
	for _, k := range kinds {
		s |= 1 << k & AllKinds
	}
	return s
}

// Has reports whether k is in the set.
func (s Kinds) Has(k Kind) bool { return s&(1<<k) != 0 }

// List returns the members in kind order.
func (s Kinds) List() []Kind {
	var list []Kind
	for k := Kind(0); k < NumKinds; k++ {
		if s.Has(k) {
			list = append(list, k)
		}
	}
	return list
}

// String returns the names of the members, comma-separated in kind order.
func (s Kinds) String() string {
	var names []string
	for _, k := range s.List() {
		names = append(names, k.String())
	}
	return strings.Join(names, ",")
}

// ParseKinds reads a comma-separated list of names, as [Kinds.String] writes
// it or in capitals; the name all stands for every kind. An empty list is an
// error.
func ParseKinds(list string) (Kinds, error) {
	var s Kinds
	for name := range strings.SplitSeq(list, ",") {
		name = strings.ToLower(strings.TrimSpace(name))
		if name == "all" {
			s |= AllKinds
			continue
		}
		k, err := ParseKind(name)
		if err != nil {
			return 0, err
		}
		s |= 1 << k
	}
	return s, nil
}
