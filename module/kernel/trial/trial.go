// Package trial interprets a module for the kernel: it calls its watchers for a
// recording, without the kernel.
package trial

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"syscall"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/link"
	"github.com/taskwatch/taskwatch/internal/plan"
	"github.com/taskwatch/taskwatch/module"
	"github.com/taskwatch/taskwatch/module/internal/cvalue"
	"github.com/taskwatch/taskwatch/module/kernel"
	"github.com/taskwatch/taskwatch/module/kernel/internal/bpfmap"
	"github.com/taskwatch/taskwatch/module/kernel/internal/machine"
	"github.com/taskwatch/taskwatch/module/kernel/internal/object"
	"github.com/taskwatch/taskwatch/module/kernel/internal/recorded"
)

// Trial calls the watchers of a module for the events of a recording, in this
// process and without the kernel: it interprets the object. It is a sink, for a
// registry that a recording is replayed to. The fields of tasks that a watcher reads
// come from the events. What a recording does not have is an error, which ends the
// trial. The verifier is not asked: see [kernel.Table.Check].
//
// Watchers of exec, uid and gid are called when it has happened, as on a kernel that
// lets nothing be denied. A module with attach has it called right before the first
// event of a task that it does not know, and detach at the end for those that are
// still there.
//
// A Trial is for one goroutine at a time.
type Trial struct {
	name    string // of the module
	object  *object.File
	opts    Options
	machine *machine.Machine
	world   *recorded.World
	maps    map[string]*machine.Map
	met     map[taskwatch.TaskID]bool // tasks that a module with attach knows
	event   *taskwatch.Event          // or nil, at detach
	counts  Counts
	err     error // that has ended it
}

var _ taskwatch.Sink = (*Trial)(nil)

// Options are the choices of [New]. All may be left out.
type Options struct {
	Params   map[string]string // see [kernel.LoadOptions]
	Contents map[string][]byte

	Log    func(slog.Level, string)
	Record func(data []byte) // what the module sends; JSON if it has a type
	Failed func(Failure)
}

// Failure is an error of a watcher.
type Failure struct {
	Watcher string // the function
	List    string // its event, or "attach", "detach" or "execed"
	Errno   syscall.Errno
	Denies  bool             // it would deny the operation
	Event   *taskwatch.Event // that it was called at, or nil; only until the call returns
}

// Counts says what has happened in a trial.
type Counts struct {
	Events  uint64 // of the recording
	Calls   uint64 // of watchers
	Errors  uint64 // of watchers
	Denied  uint64 // operations that would have been denied
	Records uint64 // that the module has sent
	Lost    uint64 // events that the recording says it lacks, as far as it knows how many
}

// New makes the maps and variables of a trial. It needs no privileges.
func New(o *kernel.Object, opts Options) (*Trial, error) {
	t := &Trial{name: o.Name, object: o.File(), opts: opts, maps: map[string]*machine.Map{}, met: map[taskwatch.TaskID]bool{}}
	if err := t.load(); err != nil {
		return nil, &kernel.Error{Op: "test", Module: t.name, Err: err}
	}
	return t, nil
}

func (t *Trial) load() error {
	o := t.object
	t.machine = machine.New(trialHost{t})
	var err error
	if t.world, err = recorded.New(t.machine); err != nil {
		return err
	}
	spec := o.Spec.Copy()
	if len(o.Lists[plan.Step]) > 0 {
		return object.Invalid("its watchers of step are called while an exec is decided, which no recording has; leave them out with #ifdef, and 'module build -D'")
	}
	if err := o.SetParams(spec, t.opts.Params); err != nil {
		return object.Invalid("%w", err)
	}
	object.InitVariables(spec)
	for _, name := range slices.Sorted(maps.Keys(spec.Maps)) {
		if name == ".kconfig" {
			continue // an error where it is used
		}
		if t.maps[name], err = t.machine.AddMap(name, spec.Maps[name]); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(t.opts.Contents)) {
		if err := t.fill(name, t.opts.Contents[name]); err != nil {
			return fmt.Errorf("content of map %s: %w", name, err)
		}
	}
	funcs, unsupported := map[string]asm.Instructions{}, map[*asm.Instruction]string{}
	for name, body := range o.Code.Funcs {
		body = slices.Clone(body)
		if err := t.relocate(body, unsupported); err != nil {
			return fmt.Errorf("%s: %w", link.InWords(name), err)
		}
		funcs[name] = body
	}
	return t.machine.AddFunctions(funcs, unsupported)
}

// fill gives a map its first entries.
func (t *Trial) fill(name string, lines []byte) error {
	mp, err := t.mapNamed(name)
	if err != nil {
		return err
	}
	spec := mp.Spec()
	if spec.Type == ebpf.TaskStorage {
		return fmt.Errorf("a map of type %s %w: the tasks of a recording come later", spec.Type, module.ErrFixed)
	}
	return bpfmap.EachLine(lines, func(key, value string) error {
		k, err := bpfmap.ParseKey(spec, key)
		if err != nil {
			return err
		}
		v, err := bpfmap.ParseValue(spec, value)
		if err != nil {
			return err
		}
		errno, err := mp.Update(k, v, 0)
		if errno != 0 {
			err = errno
		}
		return bpfmap.EntryError(key, err)
	})
}

// Wants implements [taskwatch.Sink].
func (t *Trial) Wants() taskwatch.Wants {
	w := taskwatch.Wants{}
	for _, k := range taskwatch.AllKinds.List() {
		w[k] = taskwatch.AllFields
	}
	return w
}

// Take calls the watchers for an item, until one cannot be called as in the kernel:
// see [Trial.Close].
func (t *Trial) Take(it taskwatch.Item) {
	switch {
	case t.err != nil:
	case it.Loss != nil:
		t.counts.Lost += max(it.Loss.Count, 1)
	case it.Start != nil:
		t.world.Clear(it.Start)
		clear(t.met)
	case it.Event != nil:
		t.counts.Events++
		t.err = t.take(it.Event)
	}
}

// Close calls the watchers of detach, and returns the error that has ended the trial.
// What it has counted can still be read.
func (t *Trial) Close(context.Context) error {
	if t.err == nil {
		t.err = t.detach()
	}
	return t.err
}

// take calls the watchers of an event. After those of free, the storage of the task
// goes with it.
func (t *Trial) take(ev *taskwatch.Event) error {
	t.event = ev
	task := t.world.Begin(ev)
	defer func() {
		t.event = nil
		t.world.End()
		if ev.Kind == taskwatch.Free {
			delete(t.met, ev.Task.ID)
		}
	}()
	if t.object.Visits() && !t.met[ev.Task.ID] {
		switch ev.Kind {
		case taskwatch.Free:
			return nil
		case taskwatch.Init:
		default:
			back := t.world.Elsewhere()
			if _, err := t.call(plan.Attach, task, 0, ""); err != nil {
				return err
			}
			back()
		}
		t.met[ev.Task.ID] = true
	}
	var detail uint64
	switch ev.Kind {
	case taskwatch.Exec:
		detail = t.world.Program()
	case taskwatch.UID, taskwatch.GID:
		detail = t.world.IDs()
	}
	unknown := ""
	if ev.Missing&taskwatch.FieldVal != 0 {
		unknown = "val"
	}
	denied, err := t.call(plan.List(ev.Kind), task, detail, unknown)
	if err != nil {
		return err
	}
	if denied {
		t.counts.Denied++
	}
	if ev.Kind == taskwatch.Exec {
		_, err = t.call(plan.Execed, task, detail, "")
	}
	return err
}

// call calls the watchers of a list. It reports whether one would have denied.
func (t *Trial) call(e plan.List, task, detail uint64, unknown string) (denied bool, err error) {
	kind, isEvent := e.Kind()
	var val uint64
	if isEvent {
		val = t.event.Val
	}
	for _, symbol := range t.object.Lists[e] {
		t.counts.Calls++
		r, err := t.machine.Call(symbol, unknown, val, task, detail)
		if err != nil {
			return denied, t.explain(symbol, err)
		}
		result := int32(r)
		if result >= 0 {
			continue
		}
		t.counts.Errors++
		denies := isEvent && t.object.Info.Veto.Has(kind)
		denied = denied || denies
		if t.opts.Failed != nil {
			_, function, _ := link.SplitSymbol(symbol)
			t.opts.Failed(Failure{function, e.String(), syscall.Errno(-int64(result)), denies, t.event})
		}
	}
	return denied, nil
}

// optionalIn has the optional fields of events that members of the kernel's structures
// are made of.
var optionalIn = map[string]taskwatch.Fields{
	"struct task_struct.loginuid":  taskwatch.FieldAUID,
	"struct task_struct.sessionid": taskwatch.FieldSessionID,
	"struct signal_struct.pids":    taskwatch.FieldSID,
	"struct signal_struct.tty":     taskwatch.FieldTTY,
	"struct kernfs_node.id":        taskwatch.FieldCgroupID,
	"asks for cgroup_id":           taskwatch.FieldCgroupID,
}

// explain says where a trial has ended.
func (t *Trial) explain(symbol string, err error) error {
	e, function, _ := link.SplitSymbol(symbol)
	hint := ""
	if errors.As(err, new(*machine.UnsupportedError)) {
		hint = "see docs/modules.md for what a recording has; run the module with 'taskwatch watch -m'"
		for member, field := range optionalIn {
			if strings.Contains(err.Error(), member) {
				hint = "record with '--fields " + field.String() + "'"
			}
		}
	}
	if t.event != nil {
		err = fmt.Errorf("at event %d (%s): %w", t.event.Seq, t.event.Kind, err)
	}
	return &kernel.Error{Op: "test", Module: t.name, Watcher: function, List: e.String(), Err: err, Hint: hint}
}

// detach calls the watchers of detach for each task that the module knows and that is
// not freed.
func (t *Trial) detach() error {
	if len(t.object.Lists[plan.Detach]) == 0 {
		return nil
	}
	return t.world.Tasks(func(id taskwatch.TaskID, task uint64) error {
		if !t.met[id] {
			return nil
		}
		_, err := t.call(plan.Detach, task, 0, "")
		return err
	})
}

// Counts returns what has happened up to now.
func (t *Trial) Counts() Counts { return t.counts }

// Globals returns the variables as they are now, sorted by name.
func (t *Trial) Globals() ([]module.Global, error) {
	list, err := t.object.Globals(func(section string) ([]byte, error) {
		if mp := t.maps[section]; mp != nil {
			return mp.Bytes(), nil
		}
		return nil, nil
	})
	if err != nil {
		return nil, &kernel.Error{Op: "read", Module: t.name, Err: err}
	}
	return list, nil
}

func (t *Trial) mapNamed(name string) (*machine.Map, error) {
	if _, err := t.object.Map(name); err != nil {
		return nil, err
	}
	return t.maps[name], nil
}

// LookupMap reads one entry, as [kernel.Module.LookupMap] does. A map with a value for each
// processor has one.
func (t *Trial) LookupMap(name, key string) (e module.MapEntry, err error) {
	fail := func(err error) (module.MapEntry, error) {
		return e, &kernel.Error{Op: "use map " + name + " of", Module: t.name, Err: err}
	}
	mp, err := t.mapNamed(name)
	if err != nil {
		return fail(err)
	}
	spec := mp.Spec()
	var value []byte
	if spec.Type == ebpf.TaskStorage {
		tid, ok := cvalue.ParseJSON(key).(interface{ Int64() (int64, error) })
		if !ok {
			return fail(fmt.Errorf("the key %q %w: that of task storage is a tid", key, module.ErrBadEntry))
		}
		n, _ := tid.Int64()
		value = mp.TaskValue(t.world.Find(int(n)))
		e.Key = cvalue.ParseJSON(key)
	} else {
		k, err := bpfmap.ParseKey(spec, key)
		if err != nil {
			return fail(err)
		}
		value = mp.Lookup(k)
		e.Key = cvalue.Read(spec.Key, k)
	}
	if value == nil {
		return fail(fmt.Errorf("%w: %s", module.ErrNoEntry, key))
	}
	e.Value = cvalue.Read(spec.Value, value)
	return e, nil
}
