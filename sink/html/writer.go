package html

import (
	"strings"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/jsonstring"
	"github.com/taskwatch/taskwatch/sink/lane"
)

// How a slice begins and ends: see the package comment.
const (
	beginsBirth = 0
	beginsFork  = 1
	beginsExec  = 2

	endsWell    = 0
	endsFailed  = 1
	endsExec    = 2
	endsRunning = 3
)

// writer is the Sink as what lanes are written to.
type writer Sink

func (w *writer) Lane(l *lane.Lane) error {
	parent := int64(0)
	if l.Parent != nil {
		parent = int64(l.Parent.ID)
	}
	s := (*Sink)(w)
	s.begin('L').num(int64(l.ID)).num(parent).end()
	return s.err
}

// argument returns the value of an argument, or zero.
func argument[T any](args []lane.Arg, name string) (v T) {
	for _, a := range args {
		if a.Name == name {
			v, _ = a.Value.(T)
		}
	}
	return v
}

func (w *writer) Begin(l *lane.Lane, ns int64, slice lane.Slice) error {
	s := (*Sink)(w)
	pid := argument[int64](slice.Args, "pid")
	how := int64(beginsBirth)
	switch _, follows := s.on[l]; { // only what goes on with an exec was left there
	case follows:
		how = beginsExec
	case slice.Category == "fork":
		how = beginsFork
	}
	parent := int64(-1)
	if l.Parent != nil {
		if p, ok := s.on[l.Parent]; ok {
			parent = int64(p)
		}
	}
	argv := argument[[]string](slice.Args, "argv")
	name := argument[string](slice.Args, "exe")
	if name == "" {
		name = strings.TrimPrefix(slice.Name, "fork of ")
	}
	index := int64(s.name(name))
	details := map[string]any{}
	if len(argv) > 0 {
		details["argv"] = encoded(argv)
	}
	if argument[bool](slice.Args, "argv_cut") {
		details["argv_cut"] = true
	}
	if v := argument[string](slice.Args, "cwd"); v != "" {
		details["cwd"] = jsonstring.Encode(v)
	}
	delete(s.inside, l)
	if ev := s.now; ev != nil {
		s.where(l, details, ev)
	}
	s.on[l], s.pids[l], s.byPID[int(pid)] = s.slices, int(pid), s.slices
	s.slices++
	s.begin('B').num(int64(l.ID)).at(ns).num(parent).num(pid).num(index).num(how).json(details)
	return s.err
}

// encoded returns texts with characters that stand for invalid bytes.
func encoded(texts []string) []string {
	list := make([]string, len(texts))
	for i, t := range texts {
		list[i] = jsonstring.Encode(t)
	}
	return list
}

// where adds whose task it is and where it runs.
func (s *Sink) where(l *lane.Lane, details map[string]any, ev *taskwatch.Event) {
	has := taskwatch.FieldsOf(ev.Kind) &^ ev.Missing
	if has.Has(taskwatch.FieldPPID) {
		details["ppid"] = ev.Task.PPID
	}
	if has.Has(taskwatch.FieldUID) {
		details["uid"] = ids(ev.Task.UID)
	}
	if has.Has(taskwatch.FieldGID) {
		details["gid"] = ids(ev.Task.GID)
	}
	if has.Has(taskwatch.FieldCgroup) && ev.Task.Cgroup != "" {
		details["cgroup"] = jsonstring.Encode(ev.Task.Cgroup)
		if p := s.places.Locate(ev.Task.Cgroup); p.ID != "" {
			details["container"] = strings.TrimSpace(p.Runtime + " " + jsonstring.Encode(p.ID))
			if s.container(details, p.ID) {
				s.inside[l] = p.ID
			}
		}
	}
}

// container adds what a runtime knows of a container, and reports whether one is
// asked and has not answered yet.
func (s *Sink) container(details map[string]any, id string) (waits bool) {
	if s.Names == nil {
		return false
	}
	c, ok := s.Names.Of(id)
	if !ok {
		return true
	}
	if c.Name != "" {
		details["container_name"] = jsonstring.Encode(c.Name)
	}
	if c.Image != "" {
		details["container_image"] = jsonstring.Encode(c.Image)
	}
	labels := map[string]string{}
	for name, value := range c.Labels {
		labels[jsonstring.Encode(name)] = jsonstring.Encode(value)
	}
	if len(labels) > 0 {
		details["container_labels"] = labels
	}
	return false
}

// ids are one number where all are the same.
func ids(v taskwatch.IDs) any {
	if v == (taskwatch.IDs{v[0], v[0], v[0], v[0]}) {
		return v[0]
	}
	return v
}

// name returns the place of a program's path among the lines N.
func (s *Sink) name(path string) int {
	n, ok := s.names[path]
	if !ok {
		n = len(s.names)
		s.names[path] = n
		s.begin('N').json(jsonstring.Encode(path))
	}
	return n
}

func (w *writer) End(l *lane.Lane, ns int64, args []lane.Arg) error {
	s := (*Sink)(w)
	slice, ok := s.on[l]
	if !ok {
		return s.err
	}
	how := int64(endsWell)
	details := map[string]any{}
	status := argument[string](args, "status")
	ev := s.now
	switch {
	case ev != nil && ev.Kind == taskwatch.Exec:
		how = endsExec
	case status == "still running":
		how = endsRunning
	case status != "" && status != "exit 0":
		how = endsFailed
	}
	if id := s.inside[l]; id != "" { // an answer may have come since the beginning
		s.container(details, id)
		delete(s.inside, l)
	}
	if how != endsExec {
		delete(s.on, l)
		if pid := s.pids[l]; s.byPID[pid] == slice {
			delete(s.byPID, pid)
			delete(s.marked, pid)
		}
	}
	if status != "" {
		details["status"] = status
	}
	user, system, rss := int64(-1), int64(-1), int64(-1)
	for _, a := range args {
		switch v := a.Value.(type) {
		case int64:
			switch a.Name {
			case "user_ns":
				user = v / 1000
			case "system_ns":
				system = v / 1000
			}
		case uint64:
			if a.Name == "maxrss_bytes" {
				rss = int64(v)
			}
		case bool:
			if a.Name == "maxrss_at_most" {
				details[a.Name] = v
			}
		}
	}
	if ev != nil && ev.Kind == taskwatch.Exit {
		used(details, ev)
	}
	s.begin('E').num(int64(slice)).at(ns).num(user).num(system).num(rss).num(how).json(details)
	return s.err
}

// used adds what the last task of a process used beyond time and memory.
func used(details map[string]any, ev *taskwatch.Event) {
	r := &ev.Rusage
	for _, x := range []struct {
		field taskwatch.Fields
		name  string
		value uint64
	}{
		{taskwatch.FieldMinFlt, "minflt", r.MinFlt},
		{taskwatch.FieldMajFlt, "majflt", r.MajFlt},
		{taskwatch.FieldNVCSw, "nvcsw", r.NVCSw},
		{taskwatch.FieldNIvCSw, "nivcsw", r.NIvCSw},
		{taskwatch.FieldReadBytes, "read_bytes", r.ReadBytes},
		{taskwatch.FieldWriteBytes, "write_bytes", r.WriteBytes},
	} {
		if !ev.Missing.Has(x.field) && x.value > 0 {
			details[x.name] = x.value
		}
	}
	if ev.Exit.Core && !ev.Missing.Has(taskwatch.FieldExitCore) {
		details["core"] = true
	}
}

func (w *writer) Instant(l *lane.Lane, ns int64, i lane.Instant) error {
	s := (*Sink)(w)
	slice := int64(-1)
	if n, ok := s.on[l]; ok && l != nil {
		slice = int64(n)
	}
	args := map[string]any{}
	for _, a := range i.Args {
		switch v := a.Value.(type) {
		case string:
			args[a.Name] = jsonstring.Encode(v)
		case []string:
			args[a.Name] = encoded(v)
		default:
			args[a.Name] = v
		}
	}
	s.begin('I').num(slice).at(ns).json(map[string]any{"name": jsonstring.Encode(i.Name), "category": i.Category, "args": args})
	return s.err
}

// Flow writes nothing: a slice names its parent.
func (w *writer) Flow(*lane.Lane, int64, uint64) error { return w.err }

// Live writes nothing: the page counts what lives.
func (w *writer) Live(int64, int) error { return w.err }

// Close writes nothing: the critical path follows.
func (w *writer) Close(int64) error { return w.err }
