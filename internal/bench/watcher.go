package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/source/bpf"
)

// Watcher is something that watches, and whose cost is measured.
type Watcher struct {
	Name  string
	Does  string          // in a few words
	Kinds taskwatch.Kinds // the events it tells of

	tool   string             // the program it is; empty for those of taskwatch
	args   []string           // its arguments, or those of [Child]
	toFile bool               // what it says goes to a file, and is counted there
	lines  func(tag) counting // reads it
	wraps  bool               // it runs the load itself
	busy   bool               // it never rests
}

// counting tells which event of which load a line of output tells of, if any.
// It sees the lines in their order.
type counting func(line string) (Load, taskwatch.Kind, bool)

// Watchers of taskwatch, by name.
const (
	InKernel  = "taskwatch, kernel module"
	ToGo      = "taskwatch, Go watcher"
	ToJSON    = "taskwatch, JSON to a file"
	ToSandbox = "taskwatch, WASM module"
	Waking    = "taskwatch, Go watcher, latency 0"

	FromConnector = "taskwatch, connector, JSON to a file"
	Supervised    = "taskwatch, ptrace, JSON to a file"
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
	{Name: Waking, Does: "the same as the Go watcher, woken at every event", Kinds: taskwatch.AllKinds, args: []string{"go=0s"}},
}

// sources are those of taskwatch that need less than bpf.
var sources = []*Watcher{
	{Name: FromConnector, Does: "all events of the source connector to a file", Kinds: connectorKinds, args: []string{"connector="}, toFile: true, lines: connectorLines},
	{Name: Supervised, Does: "the source ptrace runs the load, all events to a file", Kinds: taskwatch.AllKinds, args: []string{supervising + "="}, toFile: true, wraps: true, lines: jsonLines},
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

func bpftraceLines(t tag) counting {
	return func(line string) (Load, taskwatch.Kind, bool) {
		event, comm, _ := strings.Cut(line, " ")
		load, ok := t.load(comm)
		switch event {
		case "fork":
			return load, taskwatch.Clone, ok
		case "exec":
			return load, taskwatch.Exec, ok
		}
		return load, taskwatch.Exit, ok
	}
}

// forkstatLines reads forkstat's output. It looks for the name of a task when
// the task may have gone, and then has none, or that of its creator; and it
// takes one that has gone for a process. So all that happens from the exec of
// the load's own process, which lives long, to its exit counts as the load's,
// unless it has another name.
func forkstatLines(t tag) counting {
	var load Load
	pid := "" // of the load's own process
	return func(line string) (Load, taskwatch.Kind, bool) {
		f := strings.Fields(line)
		if len(f) < 4 {
			return 0, 0, false
		}
		name := f[len(f)-1]
		if l, ok := t.load(name); pid == "" {
			if !ok || f[1] != "exec" {
				return 0, 0, false
			}
			load, pid = l, f[2]
		}
		if name != t.comm(load) && name != "<unknown>" {
			return 0, 0, false
		}
		switch f[1] {
		case "fork", "clone":
			return load, taskwatch.Clone, f[3] != "parent"
		case "exec":
			return load, taskwatch.Exec, true
		case "exit":
			if f[2] == pid {
				pid = ""
			}
			return load, taskwatch.Exit, true
		}
		return 0, 0, false
	}
}

// namesOf counts lines that begin with the name of the task.
func namesOf(k taskwatch.Kind) func(tag) counting {
	return func(t tag) counting {
		return func(line string) (Load, taskwatch.Kind, bool) {
			name, _, _ := strings.Cut(line, " ")
			load, ok := t.load(name)
			return load, k, ok
		}
	}
}

func jsonLines(t tag) counting {
	return func(line string) (Load, taskwatch.Kind, bool) {
		kind, rest, _ := strings.Cut(strings.TrimPrefix(line, `{"event":"`), `"`)
		k, err := taskwatch.ParseKind(kind)
		_, rest, _ = strings.Cut(rest, `"comm":"`)
		comm, _, _ := strings.Cut(rest, `"`)
		load, ok := t.load(comm)
		return load, k, ok && err == nil
	}
}

// connectorLines reads a recording of the source connector. The name of a task that has
// gone is unknown, so what happens to the load's own process and to its children is the
// load's.
func connectorLines(t tag) counting {
	var load Load
	pid := 0 // of the load's own process
	return func(line string) (Load, taskwatch.Kind, bool) {
		var l struct {
			Event string `json:"event"`
			Task  struct {
				PID, TID, PPID int
				Comm           string
			} `json:"task"`
		}
		if json.Unmarshal([]byte(line), &l) != nil {
			return 0, 0, false
		}
		k, err := taskwatch.ParseKind(l.Event)
		if own, ok := t.load(l.Task.Comm); ok && k == taskwatch.Exec && l.Task.PPID != 0 && l.Task.PPID != pid {
			load, pid = own, l.Task.PID
		}
		return load, k, err == nil && pid != 0 && (l.Task.PID == pid || l.Task.PPID == pid)
	}
}

// running is a watcher that has been started.
type running struct {
	w      *Watcher
	cmd    *exec.Cmd
	stdin  io.Closer
	out    *bufio.Reader // of our own
	file   string        // where what it says goes
	tag    tag
	stderr *strings.Builder
	waited bool
}

// start starts the watcher and returns when it watches.
func (w *Watcher) start(ctx context.Context, cfg *Config, p *programs, cpu int) (_ *running, err error) {
	r := &running{w: w, tag: p.tag, stderr: &strings.Builder{}, file: filepath.Join(p.dir, "output")}
	defer func() {
		if err != nil {
			r.kill()
			err = fmt.Errorf("bench: %s: %w %s", w.Name, err, strings.TrimSpace(r.stderr.String()))
		}
	}()
	if w.tool != "" {
		return r, r.startTool(ctx, p, cpu)
	}
	args := append(append([]string{}, cfg.Self[1:]...), w.args...)
	if w.toFile {
		args[len(args)-1] += r.file
	}
	args = append(args, string(p.tag))
	if cfg.profile != "" {
		args = append(args, cfg.profile)
	}
	r.cmd = exec.CommandContext(ctx, cfg.Self[0], args...)
	r.cmd.Stderr = r.stderr
	if r.stdin, err = r.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := r.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	r.out = bufio.NewReader(stdout)
	if err := start(r.cmd, cpu); err != nil {
		return nil, err
	}
	if line, err := r.out.ReadString('\n'); line != readyLine {
		return nil, errors.Join(errors.New("it ended before it watched"), err)
	}
	return r, nil
}

// during has the watcher watch while do runs, which is given its pid, and
// returns what the watcher has told of.
func (w *Watcher) during(ctx context.Context, cfg *Config, p *programs, cpu int, do func(pid int) error) (*childReport, error) {
	r, err := w.start(ctx, cfg, p, cpu)
	if err != nil {
		return nil, err
	}
	defer r.kill()
	if err := do(r.cmd.Process.Pid); err != nil {
		return nil, err
	}
	return r.stop()
}

// startTool starts a tool and causes events until it tells of one.
func (r *running) startTool(ctx context.Context, p *programs, cpu int) error {
	path, err := r.w.path()
	if err != nil {
		return err
	}
	out, err := os.Create(r.file)
	if err != nil {
		return err
	}
	defer out.Close()
	r.cmd = exec.CommandContext(ctx, path, r.w.args...)
	r.cmd.Stdout, r.cmd.Stderr = out, r.stderr
	if err := start(r.cmd, cpu, mountTracefs); err != nil {
		return err
	}
	said := func() int64 {
		fi, err := out.Stat()
		if err != nil {
			return 0
		}
		return fi.Size()
	}
	for end := time.Now().Add(startTimeout); said() < 4096; time.Sleep(20 * time.Millisecond) {
		if err := p.probe(ctx); err != nil {
			return err
		}
		if time.Now().After(end) {
			return errors.New("it says nothing")
		}
		if ended(r.cmd.Process.Pid) {
			_ = r.wait() // then it has said all
			return r.w.refuses(r.stderr.String())
		}
	}
	return nil
}

// stop ends the watcher and returns what it has told of.
func (r *running) stop() (report *childReport, err error) {
	report = &childReport{}
	if r.w.tool != "" {
		_ = r.cmd.Process.Signal(unix.SIGINT)
		_ = r.wait() // its exit status means nothing: it was interrupted
		return report, r.countFile(&report.Seen)
	}
	_ = r.stdin.Close()
	err = json.NewDecoder(r.out).Decode(report)
	if e := r.wait(); e != nil || err != nil {
		return nil, fmt.Errorf("bench: %s: %w %s", r.w.Name, errors.Join(err, e), r.stderr)
	}
	if r.w.toFile {
		err = r.countFile(&report.Seen)
	}
	return report, err
}

func (r *running) wait() error {
	r.waited = true
	return r.cmd.Wait()
}

// kill ends a watcher of which nothing more is expected.
func (r *running) kill() {
	if r != nil && r.cmd != nil && r.cmd.Process != nil && !r.waited {
		_ = r.cmd.Process.Kill()
		_ = r.wait()
	}
}

func (r *running) countFile(seen *Tally) error {
	f, err := os.Open(r.file)
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	count := r.w.lines(r.tag)
	for lines.Scan() {
		if load, k, ok := count(lines.Text()); ok {
			seen[load][k]++
		}
	}
	return lines.Err()
}

// wrapped is what a watcher that runs the load itself has used.
type wrapped struct {
	took time.Duration
	cpu  time.Duration
	rss  uint64
	seen [taskwatch.NumKinds]uint64
	usage
}

// wrap runs a load under a watcher of that kind.
func (w *Watcher) wrap(ctx context.Context, cfg *Config, p *programs, l Load, n int, cpus processors) (*wrapped, error) {
	file := filepath.Join(p.dir, "output")
	argv, err := w.wrapper(cfg, p, file)
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	argv = append(argv, p.command(l, n, cpus.load, 0)...)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := start(cmd, cpus.watcher); err != nil {
		return nil, fmt.Errorf("bench: %s: %w", w.Name, err)
	}
	pid := cmd.Process.Pid
	r := &wrapped{}
	for !ended(pid) { // and wait later, so that its clock can be read
		if rss, err := peakRSS(pid); err == nil {
			r.rss = max(r.rss, rss)
		}
		time.Sleep(20 * time.Millisecond)
	}
	r.cpu, err = cpuTime(pid)
	after, usageErr := usageOf(pid)
	if err := errors.Join(cmd.Wait(), err, usageErr); err != nil {
		return nil, fmt.Errorf("bench: %s: %w %s", w.Name, err, errs.String())
	}
	r.usage = after
	ns, err := strconv.ParseInt(strings.TrimSpace(out.String()), 10, 64)
	if err != nil {
		return nil, fmt.Errorf("bench: %s: the load said %q", w.Name, out.String())
	}
	r.took = time.Duration(ns)
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	count := w.lines(p.tag)
	for line := range strings.Lines(string(text)) {
		if _, k, ok := count(strings.TrimSpace(line)); ok {
			r.seen[k]++
		}
	}
	return r, nil
}

// wrapper returns the command line of a watcher that runs the load itself, up to that
// of the load.
func (w *Watcher) wrapper(cfg *Config, p *programs, file string) ([]string, error) {
	if w.tool == "" {
		last := len(w.args) - 1
		return slices.Concat(cfg.Self, w.args[:last], []string{w.args[last] + file, string(p.tag)}), nil
	}
	path, err := w.path()
	return slices.Concat([]string{path}, w.args, []string{file}), err
}

// straceLines reads strace's output, all of which is about the load. A call that ends
// in a line of its own is counted there.
func straceLines(tag) counting {
	return func(line string) (Load, taskwatch.Kind, bool) {
		_, line, _ = strings.Cut(line, " ") // the pid
		line = strings.TrimSpace(line)
		call := strings.TrimPrefix(line, "<... ")
		switch {
		case strings.HasSuffix(line, "<unfinished ...>"):
		case strings.HasPrefix(call, "clone"), strings.HasPrefix(call, "fork"), strings.HasPrefix(call, "vfork"):
			return 0, taskwatch.Clone, true
		case strings.HasPrefix(call, "execve"):
			return 0, taskwatch.Exec, true
		case strings.HasPrefix(call, "setresuid"):
			return 0, taskwatch.UID, true
		case strings.HasPrefix(call, "setresgid"):
			return 0, taskwatch.GID, true
		case strings.HasPrefix(line, "+++ exited"):
			return 0, taskwatch.Exit, true
		}
		return 0, 0, false
	}
}
