package report

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/enrich"
	"github.com/taskwatch/taskwatch/internal/clean"
	"github.com/taskwatch/taskwatch/internal/names"
	"github.com/taskwatch/taskwatch/internal/table"
	"github.com/taskwatch/taskwatch/process"
)

// Columns says which columns the table of events has. It is made by
// [ParseColumns]. A sink that uses it keeps it for itself.
type Columns struct {
	// Names tells the names of containers; without it they are missing. It is
	// set before the first row, where the events are of this machine, now.
	Names *enrich.Names

	list    []*column
	numeric bool
	clock   *Clock
	places  enrich.Places
	tree    process.Tree
}

// column is a column that there may be.
type column struct {
	name, doc string
	width     int // of what is usual, in text; longer values push the rest to the right
	right     bool
	reads     taskwatch.Fields
	program   bool           // it is about what the program did since its exec
	value     func(*row) any // int64, string or []string; nil where there is none
}

// row is a line of the table.
type row struct {
	c    *Columns
	ev   *taskwatch.Event
	has  taskwatch.Fields
	proc *process.Process

	unsure bool // it is not known whether --where chooses it
}

// known returns a value that may be missing.
func known(bit taskwatch.Fields, get func(*row) any) func(*row) any {
	return func(r *row) any {
		if !r.has.Has(bit) {
			return nil
		}
		return get(r)
	}
}

func idColumn(name, doc string, bit taskwatch.Fields, group bool, which int) *column {
	return &column{name: name, doc: doc, width: 6, right: true, reads: bit, value: known(bit, func(r *row) any {
		if group {
			return int64(r.ev.Task.GID[which])
		}
		return int64(r.ev.Task.UID[which])
	})}
}

func nameColumn(name, doc string, bit taskwatch.Fields, group bool, which int) *column {
	return &column{name: name, doc: doc, width: 10, reads: bit, value: known(bit, func(r *row) any {
		id, file := r.ev.Task.UID[which], names.Host.User
		if group {
			id, file = r.ev.Task.GID[which], names.Host.Group
		}
		if r.c.numeric {
			return int64(id)
		}
		return file.Of(id)
	})}
}

func textColumn(name, doc string, width int, bit taskwatch.Fields, get func(*row) string) *column {
	return &column{name: name, doc: doc, width: width, reads: bit, value: known(bit, func(r *row) any { return get(r) })}
}

func numberColumn(name, doc string, width int, bit taskwatch.Fields, get func(*row) int64) *column {
	return &column{name: name, doc: doc, width: width, right: true, reads: bit, value: known(bit, func(r *row) any { return get(r) })}
}

const cpuFields = taskwatch.FieldUTime | taskwatch.FieldSTime

// programColumn is about a program whose exec was seen, at its end.
func programColumn(name, doc string, reads taskwatch.Fields, get func(*row, *process.Program) any) *column {
	return &column{name: name, doc: doc, width: 12, right: true, reads: reads, program: true, value: func(r *row) any {
		if r.proc == nil || !process.EndsProcess(r.ev) || !r.proc.Program().Started {
			return nil
		}
		return get(r, r.proc.Program())
	}}
}

// allColumns are all columns, in the order of the help.
var allColumns = []*column{
	{name: "time", doc: "when it happened, as --time says", width: len(clockLayout), value: func(r *row) any {
		if r.ev.Time.IsZero() {
			return nil
		}
		return r.c.clock.format(r.ev)
	}},
	{name: "kind", doc: "init, clone, exec, uid, gid, exit or free", width: 5, value: func(r *row) any { return r.ev.Kind.String() }},
	{name: "seq", doc: "the number of the event", width: 8, right: true, value: func(r *row) any { return int64(r.ev.Seq) }},
	numberColumn("val", "clone flags, or the exit code, raw", 8, taskwatch.FieldVal, func(r *row) int64 { return int64(min(r.ev.Val, 1<<62)) }),
	numberColumn("pid", "the process", 7, taskwatch.FieldPID, func(r *row) int64 { return int64(r.ev.Task.PID) }),
	numberColumn("tid", "the task", 7, taskwatch.FieldTID, func(r *row) int64 { return int64(r.ev.Task.TID) }),
	numberColumn("ppid", "the parent, as the kernel says", 7, taskwatch.FieldPPID, func(r *row) int64 { return int64(r.ev.Task.PPID) }),
	nameColumn("user", "the real user", taskwatch.FieldUID, false, taskwatch.RealID),
	nameColumn("euser", "the effective user", taskwatch.FieldUID, false, taskwatch.EffectiveID),
	nameColumn("group", "the real group", taskwatch.FieldGID, true, taskwatch.RealID),
	nameColumn("egroup", "the effective group", taskwatch.FieldGID, true, taskwatch.EffectiveID),
	idColumn("uid", "the number of the real user", taskwatch.FieldUID, false, taskwatch.RealID),
	idColumn("euid", "the number of the effective user", taskwatch.FieldUID, false, taskwatch.EffectiveID),
	idColumn("gid", "the number of the real group", taskwatch.FieldGID, true, taskwatch.RealID),
	idColumn("egid", "the number of the effective group", taskwatch.FieldGID, true, taskwatch.EffectiveID),
	textColumn("comm", "the name that the kernel has for the task", 15, taskwatch.FieldComm, func(r *row) string { return r.ev.Task.Comm }),
	textColumn("exe", "the path of the program", 24, taskwatch.FieldExe, func(r *row) string { return r.ev.Task.Exe }),
	{name: "args", doc: "the arguments", width: 30, reads: taskwatch.FieldArgv, value: known(taskwatch.FieldArgv, func(r *row) any { return r.ev.Task.Argv })},
	textColumn("cwd", "the working directory", 20, taskwatch.FieldCwd, func(r *row) string { return r.ev.Task.Cwd }),
	textColumn("cgroup", "the path of the cgroup", 30, taskwatch.FieldCgroup, func(r *row) string { return r.ev.Task.Cgroup }),
	textColumn("container", "the whole id of the container", 12, taskwatch.FieldCgroup, func(r *row) string { return r.place().ID }),
	{name: "container.name", doc: "its name, once the runtime has answered", width: 16, reads: taskwatch.FieldCgroup, value: named(func(c enrich.Container) string { return c.Name })},
	{name: "container.image", doc: "its image, likewise", width: 24, reads: taskwatch.FieldCgroup, value: named(func(c enrich.Container) string { return c.Image })},
	{name: "container.user", doc: "the real user, as its /etc/passwd has it", width: 10, reads: userFields, value: known(userFields, containerUser)},
	textColumn("runtime", "what runs the container", 10, taskwatch.FieldCgroup, func(r *row) string { return r.place().Runtime }),
	textColumn("pod", "the uid of the Kubernetes pod", 36, taskwatch.FieldCgroup, func(r *row) string { return r.place().PodUID }),
	textColumn("unit", "the systemd unit", 20, taskwatch.FieldCgroup, func(r *row) string { return r.place().Unit }),
	textColumn("slice", "the systemd slice", 16, taskwatch.FieldCgroup, func(r *row) string { return r.place().Slice }),
	textColumn("old_exe", "the program that an exec replaced", 24, taskwatch.FieldOldExe, func(r *row) string { return r.ev.OldExe }),
	textColumn("cause", "what changed an id", 9, taskwatch.FieldCause, func(r *row) string { return r.ev.Cause.String() }),
	numberColumn("code", "what was passed to exit", 4, taskwatch.FieldExitCode, func(r *row) int64 { return int64(r.ev.Exit.Code) }),
	numberColumn("signal", "the signal that killed the task, or 0", 6, taskwatch.FieldExitSignal, func(r *row) int64 { return int64(r.ev.Exit.Signal) }),
	numberColumn("utime_ns", "user CPU time", 12, taskwatch.FieldUTime, func(r *row) int64 { return r.ev.Rusage.UTimeNS }),
	numberColumn("stime_ns", "system CPU time", 12, taskwatch.FieldSTime, func(r *row) int64 { return r.ev.Rusage.STimeNS }),
	numberColumn("maxrss_bytes", "the most memory that was resident", 12, taskwatch.FieldMaxRSS, func(r *row) int64 { return int64(min(r.ev.Rusage.MaxRSS, 1<<62)) }),
	programColumn("span_ns", "from the exec of the program, at its end", 0, func(r *row, g *process.Program) any {
		return r.ev.MonoNS - g.StartNS
	}),
	programColumn("cpu_ns", "CPU time since that exec, likewise", cpuFields|process.UsageBefore, func(_ *row, g *process.Program) any {
		if g.Usage.AtMost() || !g.Usage.KnowsCPU() {
			return nil
		}
		return g.Usage.CPUNS()
	}),
	numberColumn("lifetime_ns", "from the start of the task to its free", 12, taskwatch.FieldLifetime, func(r *row) int64 { return r.ev.LifetimeNS }),
	{name: "source", doc: "the name of the source", width: 9, value: func(r *row) any { return r.ev.Source }},
	{name: unsureColumn, doc: "true if it is not known whether --where matches", width: 6, value: func(r *row) any {
		if !r.unsure {
			return nil
		}
		return "true"
	}},
}

const unsureColumn = "unsure"

// has reports whether there is a column.
func (c *Columns) has(name string) bool {
	return slices.ContainsFunc(c.list, func(col *column) bool { return col.name == name })
}

// The other fields are columns, too, under their names in recordings. Naming an
// optional one makes the source collect it.
func init() {
	var have taskwatch.Fields
	for _, c := range allColumns {
		if c.reads.Info().Name != "" && !c.program { // one field
			have |= c.reads
		}
	}
	for _, bit := range (taskwatch.AllFields &^ have).List() {
		info := bit.Info()
		number := info.Type == taskwatch.TypeInt || info.Type == taskwatch.TypeUint
		allColumns = append(allColumns, &column{
			name: info.Name, doc: info.Doc, width: 10, right: number, reads: bit,
			value: known(bit, func(r *row) any { return valueOf(r.ev, bit) }),
		})
	}
}

// valueOf returns the value of a field that is present. Sets of capabilities are
// hexadecimal, as in recordings and in /proc.
func valueOf(ev *taskwatch.Event, bit taskwatch.Fields) any {
	v, ok := ev.Value(bit)
	switch {
	case !ok:
		return nil
	case strings.HasPrefix(bit.Info().Name, "caps."):
		return fmt.Sprintf("%016x", v.Uint())
	}
	switch v.Type() {
	case taskwatch.TypeInt:
		return v.Int()
	case taskwatch.TypeUint:
		return int64(min(v.Uint(), 1<<62))
	case taskwatch.TypeStrings:
		return v.Strings()
	}
	return v.String()
}

func (r *row) place() enrich.Place { return r.c.places.Locate(r.ev.Task.Cgroup) }

// named returns something that a runtime tells of a container.
func named(get func(enrich.Container) string) func(*row) any {
	return known(taskwatch.FieldCgroup, func(r *row) any {
		if r.c.Names != nil {
			if c, ok := r.c.Names.Of(r.place().ID); ok {
				return get(c)
			}
		}
		return nil
	})
}

// userFields find the user of a container.
const userFields = taskwatch.FieldUID | taskwatch.FieldPID | taskwatch.FieldCgroup

func containerUser(r *row) any {
	if r.c.Names != nil {
		if name, ok := r.c.Names.User(r.place().ID, r.ev.Task.PID, r.ev.Task.UID[taskwatch.RealID]); ok {
			return name
		}
	}
	return nil
}

// ReadsNames reports whether a column has what [enrich.Names] knows.
func (c *Columns) ReadsNames() bool {
	for _, col := range c.list {
		if strings.HasPrefix(col.name, "container.") {
			return true
		}
	}
	return false
}

// ColumnNames returns all columns, each with its meaning.
func ColumnNames() (names, docs []string) {
	for _, c := range allColumns {
		names, docs = append(names, c.name), append(docs, c.doc)
	}
	return names, docs
}

// ParseColumns reads a list of names, separated by commas. With numeric, users
// and groups are shown as numbers. A nil clock means the default one.
func ParseColumns(list string, numeric bool, clock *Clock) (*Columns, error) {
	if clock == nil {
		clock = new(Clock)
	}
	c := &Columns{numeric: numeric, clock: clock}
	for name := range strings.SplitSeq(list, ",") {
		name = strings.TrimSpace(name)
		var found *column
		for _, have := range allColumns {
			if have.name == name {
				found = have
			}
		}
		if found == nil {
			all, _ := ColumnNames()
			return nil, fmt.Errorf("report: no column is named %q; there are %s", name, strings.Join(all, ", "))
		}
		for _, have := range c.list {
			if have == found {
				return nil, fmt.Errorf("report: the column %s is named twice", name)
			}
		}
		c.list = append(c.list, found)
	}
	return c, nil
}

// names returns the names of the columns.
func (c *Columns) names() []string {
	var names []string
	for _, col := range c.list {
		names = append(names, col.name)
	}
	return names
}

// wants adds the fields that the columns read.
func (c *Columns) wants(kinds taskwatch.Kinds) taskwatch.Wants {
	w := taskwatch.Wants{}
	for _, k := range kinds.List() {
		w[k] = 0
		for _, col := range c.list {
			w[k] |= col.reads & (taskwatch.FieldsOf(k) | taskwatch.OptionalOf(k))
		}
		if k == taskwatch.Exit { // threads are told from processes by it
			w[k] |= taskwatch.FieldExitGroup
		}
		w[k] |= taskwatch.FieldVal | taskwatch.FieldPID | taskwatch.FieldTID
	}
	for _, col := range c.list {
		if !col.program {
			continue
		}
		for _, k := range process.Kinds.List() {
			w[k] |= process.TreeFields | col.reads&(taskwatch.FieldsOf(k)|taskwatch.OptionalOf(k))
		}
	}
	return w
}

// row returns the row of an event.
func (c *Columns) row(ev *taskwatch.Event) row {
	r := row{c: c, ev: ev, has: ev.Fields()}
	if ev.Task == nil {
		r.has &^= taskwatch.FieldsTask
	}
	return r
}

// plain returns a value as one text, as in CSV. Arguments are quoted as for a
// shell.
func plainValue(v any) string {
	switch v := v.(type) {
	case int64:
		return strconv.FormatInt(v, 10)
	case string:
		return v
	case []string:
		words := make([]string, len(v))
		for i, w := range v {
			words[i] = clean.Word(w)
		}
		return strings.Join(words, " ")
	}
	return ""
}

// write writes the columns as text. A missing value is a dash.
func (c *Columns) write(to *table.Line, r *row) {
	for i, col := range c.list {
		if i > 0 {
			to.Add(" ")
		}
		text := "-"
		switch v := col.value(r).(type) {
		case nil:
		case string:
			if text = clean.Text(v); v == "" {
				text = "-"
			}
		default:
			if text = plainValue(v); text == "" {
				text = "-"
			}
		}
		pad := max(0, col.width-table.Width(text))
		right := col.right || col.name == "time" && c.clock.spans()
		if i == len(c.list)-1 && !right {
			pad = 0
		}
		if right {
			to.Add(strings.Repeat(" ", pad))
		}
		if col.name == "kind" {
			to.Paint(kindColours[r.ev.Kind], text)
		} else {
			to.Add(text)
		}
		if !right {
			to.Add(strings.Repeat(" ", pad))
		}
	}
}

// head writes the names of the columns.
func (c *Columns) head(to *table.Line) {
	for i, col := range c.list {
		if i > 0 {
			to.Add(" ")
		}
		name := strings.ToUpper(col.name)
		pad := strings.Repeat(" ", max(0, col.width-len(name)))
		switch {
		case col.right:
			to.Paint(bold, pad+name)
		case i == len(c.list)-1:
			to.Paint(bold, name)
		default:
			to.Paint(bold, name+pad)
		}
	}
}
