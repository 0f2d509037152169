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

// fieldColumn is the column of a field of the table of fields.
func fieldColumn(name string, width int, bit taskwatch.Fields) *column {
	info := bit.Info()
	return &column{
		name: name, doc: info.Doc, width: width, right: info.Type == taskwatch.TypeInt || info.Type == taskwatch.TypeUint, reads: bit,
		value: known(bit, func(r *row) any { return valueOf(r.ev, bit) }),
	}
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
	fieldColumn("val", 8, taskwatch.FieldVal),
	fieldColumn("pid", 7, taskwatch.FieldPID),
	fieldColumn("tid", 7, taskwatch.FieldTID),
	fieldColumn("ppid", 7, taskwatch.FieldPPID),
	nameColumn("user", "the real user", taskwatch.FieldUID, false, taskwatch.RealID),
	nameColumn("euser", "the effective user", taskwatch.FieldUID, false, taskwatch.EffectiveID),
	nameColumn("group", "the real group", taskwatch.FieldGID, true, taskwatch.RealID),
	nameColumn("egroup", "the effective group", taskwatch.FieldGID, true, taskwatch.EffectiveID),
	idColumn("uid", "the number of the real user", taskwatch.FieldUID, false, taskwatch.RealID),
	idColumn("euid", "the number of the effective user", taskwatch.FieldUID, false, taskwatch.EffectiveID),
	idColumn("gid", "the number of the real group", taskwatch.FieldGID, true, taskwatch.RealID),
	idColumn("egid", "the number of the effective group", taskwatch.FieldGID, true, taskwatch.EffectiveID),
	fieldColumn("comm", 15, taskwatch.FieldComm),
	fieldColumn("exe", 24, taskwatch.FieldExe),
	fieldColumn("args", 30, taskwatch.FieldArgv),
	fieldColumn("cwd", 20, taskwatch.FieldCwd),
	fieldColumn("cgroup", 30, taskwatch.FieldCgroup),
	textColumn("container", "the whole id of the container", 12, taskwatch.FieldCgroup, func(r *row) string { return r.place().ID }),
	{name: "container.name", doc: "its name, once the runtime has answered", width: 16, reads: taskwatch.FieldCgroup, value: named(func(c enrich.Container) string { return c.Name })},
	{name: "container.image", doc: "its image, likewise", width: 24, reads: taskwatch.FieldCgroup, value: named(func(c enrich.Container) string { return c.Image })},
	{name: "container.user", doc: "the real user, as its /etc/passwd has it", width: 10, reads: userFields, value: known(userFields, containerUser)},
	textColumn("runtime", "what runs the container", 10, taskwatch.FieldCgroup, func(r *row) string { return r.place().Runtime }),
	textColumn("pod", "the uid of the Kubernetes pod", 36, taskwatch.FieldCgroup, func(r *row) string { return r.place().PodUID }),
	textColumn("unit", "the systemd unit", 20, taskwatch.FieldCgroup, func(r *row) string { return r.place().Unit }),
	textColumn("slice", "the systemd slice", 16, taskwatch.FieldCgroup, func(r *row) string { return r.place().Slice }),
	fieldColumn("old_exe", 24, taskwatch.FieldOldExe),
	fieldColumn("cause", 9, taskwatch.FieldCause),
	fieldColumn("code", 4, taskwatch.FieldExitCode),
	fieldColumn("signal", 6, taskwatch.FieldExitSignal),
	fieldColumn("utime_ns", 12, taskwatch.FieldUTime),
	fieldColumn("stime_ns", 12, taskwatch.FieldSTime),
	fieldColumn("maxrss_bytes", 12, taskwatch.FieldMaxRSS),
	programColumn("span_ns", "from the exec of the program, at its end", 0, func(r *row, g *process.Program) any {
		return r.ev.MonoNS - g.StartNS
	}),
	programColumn("cpu_ns", "CPU time since that exec, likewise", cpuFields|process.UsageBefore, func(_ *row, g *process.Program) any {
		if g.Usage.AtMost() || !g.Usage.KnowsCPU() {
			return nil
		}
		return g.Usage.CPUNS()
	}),
	fieldColumn("lifetime_ns", 12, taskwatch.FieldLifetime),
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

// Each field is a column under its name in recordings, too: exit.code is code. Naming
// an optional one makes the source collect it.
func init() {
	for _, bit := range taskwatch.AllFields.List() {
		if name := bit.Info().Name; !slices.ContainsFunc(allColumns, func(c *column) bool { return c.name == name }) {
			allColumns = append(allColumns, fieldColumn(name, 10, bit))
		}
	}
}

// valueOf returns the value of a field that is present. Sets of bits are
// hexadecimal, as in recordings and in /proc.
func valueOf(ev *taskwatch.Event, bit taskwatch.Fields) any {
	v, ok := ev.Value(bit)
	switch {
	case !ok:
		return nil
	case bit.Info().Mask:
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
