package bench

import (
	"slices"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/source/bpf"
)

// Watcher is something that watches, and whose cost is measured.
type Watcher struct {
	Name  string
	Does  string          // in a few words
	Kinds taskwatch.Kinds // the events it tells of

	tool   string                   // the program it is; empty for those of taskwatch
	args   []string                 // its arguments, or those of [Child]
	toFile bool                     // what it says goes to a file, and is counted there
	lines  func(*programs) counting // reads it
	wraps  bool                     // it runs the load itself
	busy   bool                     // it never rests
}

// Watchers of taskwatch, by name.
const (
	InKernel  = "taskwatch, kernel module"
	ToGo      = "taskwatch, Go watcher"
	ToJSON    = "taskwatch, JSON to a file"
	ToSandbox = "taskwatch, WASM module"
	waking    = "taskwatch, Go watcher, latency 0"
	soon      = "taskwatch, Go watcher, latency 1 ms"

	byConnector = "taskwatch, connector, JSON to a file"
	byPtrace    = "taskwatch, ptrace, JSON to a file"
)

// Control watches nothing. Where its ratios are not near 1, other work on the
// machine has moved all figures.
const Control = "nothing (a control)"

// controls watch nothing: what they cost is what the measurement does not see,
// and what a processor that is busy costs the one beside it.
var controls = []*Watcher{
	{Name: Control, Does: "sleeps", args: []string{"none=sleep"}},
	{Name: "a busy loop (a control)", Does: "keeps its processor busy", args: []string{"none=spin"}, busy: true},
}

var ours = []*Watcher{
	{Name: InKernel, Does: "a module in the kernel counts all seven events", Kinds: taskwatch.AllKinds, args: []string{"kernel=1"}},
	{Name: ToGo, Does: "all events with all fields to a Go function", Kinds: taskwatch.AllKinds, args: []string{"go=" + bpf.DefaultLatency.String()}},
	{Name: ToJSON, Does: "all events with all fields to a file", Kinds: taskwatch.AllKinds, args: []string{"json="}, toFile: true, lines: jsonLines},
	{Name: ToSandbox, Does: "a WASM module counts all seven events", Kinds: taskwatch.AllKinds, args: []string{"wasm=1"}},
	{Name: soon, Does: "the same as the Go watcher, which looks every millisecond", Kinds: taskwatch.AllKinds, args: []string{"go=1ms"}},
	{Name: waking, Does: "the same, woken at every event", Kinds: taskwatch.AllKinds, args: []string{"go=0s"}},
}

// sources are those of taskwatch that need less than bpf.
var sources = []*Watcher{
	{Name: byConnector, Does: "all events of the source connector to a file", Kinds: connectorKinds, args: []string{"connector="}, toFile: true, lines: connectorLines},
	{Name: byPtrace, Does: "the source ptrace runs the load, all events to a file", Kinds: taskwatch.AllKinds, args: []string{supervising + "="}, toFile: true, wraps: true, lines: jsonLines},
}

var connectorKinds = taskwatch.KindsOf(taskwatch.Clone, taskwatch.Exec, taskwatch.UID, taskwatch.GID, taskwatch.Exit)

var processKinds = taskwatch.KindsOf(taskwatch.Clone, taskwatch.Exec, taskwatch.Exit)

var others = []*Watcher{
	{Name: "forkstat", Does: "prints fork, exec and exit", Kinds: processKinds, tool: "forkstat",
		args: []string{"-c", "-e", "fork,clone,exec,exit"}, toFile: true, lines: forkstatLines},
	{Name: "bpftrace", Does: "prints fork, exec and exit", Kinds: processKinds, tool: "bpftrace",
		args: []string{"-q", "-e", bpftraceProgram}, toFile: true, lines: bpftraceLines},
	{Name: "execsnoop", Does: "prints exec", Kinds: taskwatch.KindsOf(taskwatch.Exec), tool: "execsnoop", toFile: true, lines: namesOf(taskwatch.Exec)},
	{Name: "exitsnoop", Does: "prints exit, of threads too", Kinds: taskwatch.KindsOf(taskwatch.Exit), tool: "exitsnoop",
		args: []string{"-T"}, toFile: true, lines: namesOf(taskwatch.Exit)},
	{Name: "strace", Does: "follows the load and prints process and id calls", Kinds: processKinds | taskwatch.KindsOf(taskwatch.UID, taskwatch.GID), tool: "strace",
		args: []string{"-f", "--seccomp-bpf", "-e", "trace=process,setresuid,setresgid", "-o"}, toFile: true, wraps: true, lines: straceLines},
}

// All returns every watcher that can be measured: controls that watch nothing,
// those of taskwatch, and other tools.
func All() []*Watcher { return slices.Concat(controls, ours, sources, others) }

// Tools returns the names of the watchers that are not of taskwatch.
func Tools() (names []string) {
	for _, w := range others {
		names = append(names, w.Name)
	}
	return names
}

// ByName returns the watcher with a name, or nil.
func ByName(name string) *Watcher {
	for _, w := range All() {
		if w.Name == name {
			return w
		}
	}
	return nil
}

const bpftraceProgram = `tracepoint:sched:sched_process_fork { printf("fork %s\n", comm); }
tracepoint:sched:sched_process_exec { printf("exec %s\n", comm); }
tracepoint:sched:sched_process_exit { printf("exit %s\n", comm); }`
