package taskwatch

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
)

// Task is what the kernel schedules: a thread. A process is a thread group,
// whose tasks share PID and differ in TID.
//
// A source uses one *Task for one task, from its init event (or from the time
// the source first sees it) to its free event, so the pointer is a key that
// survives the reuse of pids. The source changes the fields between events:
// a watcher may read them until it returns, and must not change them. What
// one event cannot tell is named in [Event.Missing].
type Task struct {
	ID       TaskID // unique per task lifetime
	ParentID TaskID // the task that created this one, or zero when unknown

	PID  int // thread group id; 0 until the task has one
	TID  int // task id; 0 until the task has one
	PPID int // thread group id of the real parent

	StartNS int64 // CLOCK_BOOTTIME in nanoseconds, as in field 22 of /proc/TID/stat but not rounded where the source knows better

	Comm    string   // at most 15 bytes, the kernel's name for the task
	Exe     string   // absolute path of the program, in the task's own root
	Argv    []string // never changed in place: an exec brings a new slice
	ArgvCut bool     // Argv is not complete, or the program has overwritten it before it was read
	Cwd     string
	UID     IDs
	GID     IDs
	Cgroup  string // path in the unified hierarchy, or in the one of cgroup v1 that the manager uses

	storage storage

	// held are items of an operation that watchers were asked about: they
	// come behind its event.
	held     []Item
	heldKind Kind
}

// Clone returns a copy without task storage.
func (t *Task) Clone() *Task {
	c := new(Task)
	t.copyTo(c)
	return c
}

// copyTo sets the exported fields of a task that nobody else uses.
func (t *Task) copyTo(to *Task) {
	to.ID, to.ParentID = t.ID, t.ParentID
	to.PID, to.TID, to.PPID = t.PID, t.TID, t.PPID
	to.StartNS = t.StartNS
	to.Comm, to.Exe, to.Argv, to.ArgvCut, to.Cwd = t.Comm, t.Exe, t.Argv, t.ArgvCut, t.Cwd
	to.UID, to.GID, to.Cgroup = t.UID, t.GID, t.Cgroup
}

// IDs are the four user ids, or the four group ids, of a task.
type IDs [4]uint32

// The places in IDs.
const (
	RealID = iota
	EffectiveID
	SavedID
	FSID
)

// TaskID names one lifetime of one task. It is unique across runs of sources
// on one machine for all practical purposes, says nothing about kernel
// addresses, and its zero value stands for "unknown".
type TaskID struct {
	Run uint64 // drawn once per run of a source
	N   uint64 // counts the tasks of that run, from 1
}

// IsZero reports whether the id is unknown.
func (id TaskID) IsZero() bool { return id == TaskID{} }

// String returns the two parts in base 36, joined by a dash, or "" for the
// zero value.
func (id TaskID) String() string {
	if id.IsZero() {
		return ""
	}
	return string(id.Append(nil))
}

// Append appends what String returns to b.
func (id TaskID) Append(b []byte) []byte {
	if id.IsZero() {
		return b
	}
	b = appendBase36(b, id.Run)
	b = append(b, '-')
	return appendBase36(b, id.N)
}

// appendBase36 is strconv.AppendUint for a base that the compiler knows, which makes
// the divisions cheap: each event has two ids.
func appendBase36(b []byte, n uint64) []byte {
	const base = 36
	var digits [13]byte // of the largest number
	i := len(digits) - 1
	for ; n >= base; i-- {
		digits[i] = "0123456789abcdefghijklmnopqrstuvwxyz"[n%base]
		n /= base
	}
	digits[i] = "0123456789abcdefghijklmnopqrstuvwxyz"[n]
	return append(b, digits[i:]...)
}

// ParseTaskID reads what [TaskID.String] returns.
func ParseTaskID(s string) (TaskID, error) {
	if s == "" {
		return TaskID{}, nil
	}
	run, n, ok := strings.Cut(s, "-")
	if ok {
		r, err1 := strconv.ParseUint(run, 36, 64)
		c, err2 := strconv.ParseUint(n, 36, 64)
		var buf [32]byte
		if id := (TaskID{Run: r, N: c}); err1 == nil && err2 == nil && string(id.Append(buf[:0])) == s {
			return id, nil
		}
	}
	return TaskID{}, fmt.Errorf("taskwatch: bad task id %q: want two base-36 numbers joined by a dash", s)
}

// Storage keeps one value of type T per task for its owner, like a BPF map of
// type task storage: one module makes one Storage and reaches its own values
// only. The values of a task are dropped after its free event was delivered.
//
// All methods may be called from any goroutine.
type Storage[T any] struct {
	_ byte // distinct Storages need distinct addresses
}

// NewStorage returns an empty storage.
func NewStorage[T any]() *Storage[T] { return new(Storage[T]) }

// Get returns the value kept for t, and whether there is one.
func (s *Storage[T]) Get(t *Task) (T, bool) {
	if v, ok := t.storage.get(s); ok {
		return v.(T), true
	}
	var zero T
	return zero, false
}

// Set keeps v for t. It reports false, and keeps nothing, when t has already
// been freed.
func (s *Storage[T]) Set(t *Task, v T) bool { return t.storage.set(s, v) }

// Delete drops the value kept for t, if there is one.
func (s *Storage[T]) Delete(t *Task) { t.storage.delete(s) }

// storage holds the values of one task, keyed by *Storage. Few modules keep
// values, so a slice is searched faster than a map.
type storage struct {
	mu    sync.Mutex // guards the fields below: watchers of one task may run on several goroutines
	slots []slot
	freed bool
}

type slot struct{ key, value any }

func (s *storage) index(key any) int {
	for i := range s.slots {
		if s.slots[i].key == key {
			return i
		}
	}
	return -1
}

func (s *storage) get(key any) (any, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := s.index(key); i >= 0 {
		return s.slots[i].value, true
	}
	return nil, false
}

func (s *storage) set(key, value any) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.freed {
		return false
	}
	if i := s.index(key); i >= 0 {
		s.slots[i].value = value
	} else {
		s.slots = append(s.slots, slot{key, value})
	}
	return true
}

// delete reports whether there was a value.
func (s *storage) delete(key any) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.index(key)
	if i < 0 {
		return false
	}
	last := len(s.slots) - 1
	s.slots[i] = s.slots[last]
	s.slots[last] = slot{}
	s.slots = s.slots[:last]
	return true
}

// mark sets a key without a value, and reports whether it was new, and whether
// it is there now: of a task that was freed it is not.
func (s *storage) mark(key any) (fresh, there bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.freed:
		return false, false
	case s.index(key) >= 0:
		return false, true
	}
	s.slots = append(s.slots, slot{key: key})
	return true, true
}

// free drops everything, for good.
func (s *storage) free() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.slots, s.freed = nil, true
}
