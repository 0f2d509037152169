package filter

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/record"
)

// The reference is cel-go as it comes: plain variables, filled in from the lines
// of a recording by names and types that stand here once more. It knows neither
// the table of fields nor what is decided without evaluation.

// refField is a variable, or a key of a map, of the reference.
type refField struct {
	path  string // in a line
	kinds string // of the events that have it
	typ   *cel.Type
	get   func(v any) any // from the JSON value
}

func refInt(v any) any {
	n, err := v.(json.Number).Int64()
	if err != nil {
		panic(err)
	}
	return n
}

func refText(v any) any          { return v.(string) }
func refBool(v any) any          { return v.(bool) }
func refSpan(v any) any          { return time.Duration(refInt(v).(int64)) }
func refNth(n int) func(any) any { return func(v any) any { return refInt(v.([]any)[n]) } }
func refList(f func(any) any, v any) any {
	list := []any{}
	for _, x := range v.([]any) {
		list = append(list, f(x))
	}
	return list
}

// refOld is {"uid": list} or {"gid": list}.
func refOld(v any) any {
	for _, list := range v.(map[string]any) {
		return refInts(list)
	}
	panic("old has no ids")
}
func refInts(v any) any  { return refList(refInt, v) }
func refTexts(v any) any { return refList(refText, v) }
func refJoin(v any) any {
	var words []string
	for _, x := range v.([]any) {
		words = append(words, x.(string))
	}
	return strings.Join(words, " ")
}

const refAll, refBorn, refOptional = "init clone exec uid gid exit free", "clone exec uid gid exit free", "clone exec uid gid exit"

var refFields = map[string]refField{
	"kind": {"event", refAll, cel.StringType, refText}, "seq": {"seq", refAll, cel.IntType, refInt},
	"pid": {"task.pid", refBorn, cel.IntType, refInt}, "tid": {"task.tid", refBorn, cel.IntType, refInt}, "ppid": {"task.ppid", refAll, cel.IntType, refInt},
	"comm": {"task.comm", refAll, cel.StringType, refText}, "exe": {"task.exe", refAll, cel.StringType, refText}, "cwd": {"task.cwd", refAll, cel.StringType, refText},
	"argv": {"task.argv", refAll, cel.ListType(cel.StringType), refTexts}, "args": {"task.argv", refAll, cel.StringType, refJoin},
	"uid": {"task.uid", refAll, cel.IntType, refNth(0)}, "euid": {"task.uid", refAll, cel.IntType, refNth(1)}, "fsuid": {"task.uid", refAll, cel.IntType, refNth(3)},
	"uids": {"task.uid", refAll, cel.ListType(cel.IntType), refInts}, "gid": {"task.gid", refAll, cel.IntType, refNth(0)}, "sgid": {"task.gid", refAll, cel.IntType, refNth(2)},
	"old_exe": {"old_exe", "exec", cel.StringType, refText}, "old": {"old", "uid gid", cel.ListType(cel.IntType), refOld},
	"lifetime_ns": {"lifetime_ns", "free", cel.IntType, refInt}, "lifetime": {"lifetime_ns", "free", cel.DurationType, refSpan},
	"exit.code": {"exit.code", "exit", cel.IntType, refInt}, "exit.signal": {"exit.signal", "exit", cel.IntType, refInt}, "exit.group": {"exit.group", "exit", cel.BoolType, refBool},
	"rusage.utime": {"rusage.utime_ns", "exit", cel.DurationType, refSpan}, "rusage.stime_ns": {"rusage.stime_ns", "exit", cel.IntType, refInt},
	"rusage.maxrss_bytes": {"rusage.maxrss_bytes", "exit", cel.IntType, refInt},
	"nice":                {"task.nice", refOptional, cel.IntType, refInt}, "ns.pid": {"task.ns.pid", refOptional, cel.IntType, refInt}, "tty": {"task.tty", refOptional, cel.StringType, refText},
}

// refNames are the fields, in one order.
var refNames = func() []string {
	return strings.Fields(`kind seq pid tid ppid comm exe cwd argv args uid euid fsuid uids gid sgid old_exe old lifetime_ns lifetime
		exit.code exit.signal exit.group rusage.utime rusage.stime_ns rusage.maxrss_bytes nice ns.pid tty`)
}()

func refEnv(t *testing.T) *cel.Env {
	t.Helper()
	var options []cel.EnvOption
	groups := map[string]bool{}
	for name, f := range refFields {
		if group, _, in := strings.Cut(name, "."); !in {
			options = append(options, cel.Variable(name, f.typ))
		} else if !groups[group] {
			groups[group] = true
			options = append(options, cel.Variable(group, cel.MapType(cel.StringType, cel.DynType)))
		}
	}
	e, err := cel.NewEnv(options...)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// refLine is what the reference knows of a line: the values, and what the kind
// has and the line has not.
type refLine struct {
	values  map[string]any
	unknown []string
}

func readRefLine(t *testing.T, line []byte) refLine {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	var root map[string]any
	if err := d.Decode(&root); err != nil {
		t.Fatal(err)
	}
	l := refLine{values: map[string]any{}}
	missing := map[string]bool{}
	if list, ok := root["missing"].([]any); ok {
		for _, name := range list {
			missing[name.(string)] = true
		}
	}
	for _, name := range refNames {
		f := refFields[name]
		if !strings.Contains(" "+f.kinds+" ", " "+root["event"].(string)+" ") {
			continue
		}
		at, there := any(root), true
		for part := range strings.SplitSeq(f.path, ".") {
			m, _ := at.(map[string]any)
			if at, there = m[part]; !there {
				break
			}
		}
		if there {
			l.values[name] = f.get(at)
		} else {
			l.unknown = append(l.unknown, name)
		}
	}
	return l
}

// ask returns the reference's answer, with more taken for known.
func (l refLine) ask(t *testing.T, prog cel.Program, more map[string]any) Answer {
	t.Helper()
	vars := map[string]any{}
	set := func(name string, v any) {
		group, key, in := strings.Cut(name, ".")
		if !in {
			vars[name] = v
			return
		}
		m, _ := vars[group].(map[string]any)
		if m == nil {
			m = map[string]any{}
			vars[group] = m
		}
		m[key] = v
	}
	for name, v := range l.values {
		set(name, v)
	}
	var patterns []*cel.AttributePatternType
	for _, name := range l.unknown {
		if v, known := more[name]; known {
			set(name, v)
			continue
		}
		group, key, in := strings.Cut(name, ".")
		p := cel.AttributePattern(group)
		if in {
			p = p.QualString(key)
			if vars[group] == nil {
				vars[group] = map[string]any{}
			}
		}
		patterns = append(patterns, p)
	}
	input, err := cel.PartialVars(vars, patterns...)
	if err != nil {
		t.Fatal(err)
	}
	val, _, err := prog.Eval(input)
	switch {
	case err != nil:
		return No
	case types.IsUnknown(val):
		return Unknown
	case val == types.True:
		return Yes
	}
	return No
}

// exprMaker makes expressions that are often true.
type exprMaker struct{ *rand.Rand }

func (r exprMaker) of(list ...string) string { return list[r.IntN(len(list))] }

func (r exprMaker) integer() string {
	return r.of("pid", "tid", "ppid", "uid", "euid", "fsuid", "gid", "sgid", "exit.code", "exit.signal", "rusage.stime_ns", "rusage.maxrss_bytes",
		"lifetime_ns", "nice", "ns.pid", "size(argv)", "size(comm)", "uids[1]", "old[0]", "uid + gid", "pid - tid", "-nice", "10 / exit.code", "size(argv[0])")
}

func (r exprMaker) number() string { return r.of("0", "1", "2", "3", "4", "-1") }

func (r exprMaker) text() string {
	return r.of("comm", "exe", "cwd", "args", "old_exe", "tty", "argv[0]", "argv[1]", `(comm + "c")`)
}

func (r exprMaker) word() string { return r.of(`""`, `"a"`, `"b"`, `"a b"`, `"ab"`) }

func (r exprMaker) plain() string {
	switch r.IntN(9) {
	case 0:
		return fmt.Sprintf(`kind == %q`, r.of("exec", "exit", "clone", "uid"))
	case 1:
		return fmt.Sprintf(`kind in ["exec", %q]`, r.of("free", "exit", "gid", "init"))
	case 2:
		return fmt.Sprintf("%s in [%s, %s]", r.integer(), r.number(), r.number())
	case 3:
		return fmt.Sprintf("%s == %s", r.number(), r.of("uid", "pid", "ppid", "euid"))
	case 4:
		return fmt.Sprintf("%s == %s", r.of("comm", "exe", "cwd", "old_exe"), r.word())
	}
	return fmt.Sprintf("%s %s %s", r.integer(), r.of("==", "!=", "<", "<=", ">", ">="), r.number())
}

func (r exprMaker) expr(depth int) string {
	if depth > 0 {
		switch r.IntN(7) {
		case 0, 1:
			return "(" + r.expr(depth-1) + " && " + r.expr(depth-1) + ")"
		case 2:
			return r.plain() + " && " + r.expr(depth-1) // conjuncts at the top
		case 3:
			return "(" + r.expr(depth-1) + " || " + r.expr(depth-1) + ")"
		case 4:
			return "!(" + r.expr(depth-1) + ")"
		case 5:
			return "(" + r.expr(depth-1) + " ? " + r.expr(depth-1) + " : " + r.expr(depth-1) + ")"
		}
	}
	switch r.IntN(9) {
	case 0:
		return fmt.Sprintf("%s.%s(%s)", r.text(), r.of("startsWith", "endsWith", "contains"), r.word())
	case 1:
		return fmt.Sprintf("argv.%s(a, a == %s)", r.of("exists", "all", "exists_one"), r.of(r.word(), "comm", "exe"))
	case 2:
		return fmt.Sprintf("%s in %s", r.number(), r.of("uids", "old"))
	case 3:
		return fmt.Sprintf("%s > duration(%q)", r.of("rusage.utime", "lifetime"), r.of("1ns", "2ns"))
	case 4:
		return r.of("exit.group", "true", "false", "uids == [1, 1, 1, 1]", `argv == ["a"]`, `argv.map(a, a + "x").exists(a, a == "ax")`, `size(argv.filter(a, a != "b")) > 0`)
	case 5:
		return fmt.Sprintf("%s == %s", r.text(), r.text())
	}
	return r.plain()
}

// value returns a random value of a field.
func (r exprMaker) value(name string) any {
	n := func() any { return int64(r.IntN(5)) }
	s := func() any { return []string{"", "a", "b", "a b", "ab"}[r.IntN(5)] }
	switch f := refFields[name]; {
	case f.typ == cel.IntType:
		return n()
	case f.typ == cel.StringType:
		return s()
	case f.typ == cel.BoolType:
		return r.IntN(2) == 0
	case f.typ == cel.DurationType:
		return time.Duration(r.IntN(4))
	case name == "argv":
		return make([]any, 0, 1)
	}
	return []any{n(), n(), n(), n()}
}

func (r exprMaker) event() *taskwatch.Event {
	k := taskwatch.Kind(r.IntN(taskwatch.NumKinds))
	id := func() uint32 { return uint32(r.IntN(4)) }
	word := func() string { return []string{"", "a", "b", "a b", "ab"}[r.IntN(5)] }
	argv := make([]string, r.IntN(4))
	for i := range argv {
		argv[i] = word()
	}
	ev := &taskwatch.Event{
		Kind: k, Seq: 1 + r.Uint64N(5), Time: time.Unix(1, 0).UTC(), MonoNS: 5, Source: "test", OldExe: word(), OldIDs: taskwatch.IDs{id(), id(), id(), id()},
		Exit: taskwatch.ExitStatus{Code: r.IntN(4), Signal: r.IntN(3), Group: r.IntN(2) == 0}, LifetimeNS: r.Int64N(4),
		Rusage: taskwatch.Rusage{UTimeNS: r.Int64N(4), STimeNS: r.Int64N(4), MaxRSS: r.Uint64N(4)},
		Task: &taskwatch.Task{
			ID: taskwatch.TaskID{Run: 1, N: 1}, ParentID: taskwatch.TaskID{Run: 1, N: 2}, PID: 1 + r.IntN(4), TID: 1 + r.IntN(4), PPID: r.IntN(4), Comm: word(), Exe: word(), Cwd: word(), Argv: argv,
			UID: taskwatch.IDs{id(), id(), id(), id()}, GID: taskwatch.IDs{id(), id(), id(), id()},
		},
	}
	if r.IntN(2) == 0 {
		few := taskwatch.FieldsOf(k)
		for range 3 { // an eighth of them
			few &= taskwatch.Fields(r.Uint64())
		}
		ev.Missing = few
	}
	if r.IntN(2) == 0 {
		given := (taskwatch.FieldNice | taskwatch.FieldNSPID | taskwatch.FieldTTY) & taskwatch.OptionalOf(k)
		ev.Extra = &taskwatch.Extra{Given: given, Nice: r.IntN(4) - 2, NSPID: id(), TTY: word()}
	}
	return ev
}

// TestReference asks random expressions of a random recording, and cel-go alone.
// What it knows is answered alike. Where it says that it is unknown, Filter may
// say no only if no values of what is missing make it a yes.
func TestReference(t *testing.T) {
	r := exprMaker{rand.New(rand.NewPCG(17, 6))}
	var recording bytes.Buffer
	wants := taskwatch.WantAll(taskwatch.AllKinds)
	for k := range wants {
		wants[k] |= taskwatch.OptionalOf(k)
	}
	w := record.NewWriter(&recording, wants)
	for range 400 {
		w.Take(taskwatch.Item{Event: r.event()})
	}
	if err := w.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	var lines []refLine
	for line := range bytes.Lines(recording.Bytes()) {
		lines = append(lines, readRefLine(t, line))
	}
	var items []taskwatch.Item
	reader := record.NewReader(&recording, "test")
	for {
		it, err := reader.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		items = append(items, it)
	}
	if len(items) != len(lines) {
		t.Fatalf("%d items, %d lines", len(items), len(lines))
	}
	plainCEL := refEnv(t)
	answers := map[Answer]int{}
	expressions := testutil.Size(200, 600, 600)
	for range expressions {
		expr := r.expr(3)
		f := parse(t, expr)
		checked, iss := plainCEL.Compile(expr)
		if iss.Err() != nil {
			t.Fatalf("%s: %v", expr, iss.Err())
		}
		prog, err := plainCEL.Program(checked, cel.EvalOptions(cel.OptPartialEval))
		if err != nil {
			t.Fatalf("%s: %v", expr, err)
		}
		for range 40 {
			i := r.IntN(len(items))
			got, want := f.Match(items[i], nil), lines[i].ask(t, prog, nil)
			answers[got]++
			if got != No && !f.Kinds().Has(items[i].Event.Kind) {
				t.Fatalf("%s: %v, of a kind that Kinds leaves out: %+v", expr, got, items[i].Event)
			}
			if got == want {
				continue
			}
			if got != No || want != Unknown {
				t.Fatalf("%s: %v, and %v by cel-go, of %+v, missing %v, %+v", expr, got, want, items[i].Event, items[i].Event.Missing, items[i].Event.Task)
			}
			for range 50 {
				guess := map[string]any{}
				for _, name := range lines[i].unknown {
					guess[name] = r.value(name)
				}
				if lines[i].ask(t, prog, guess) == Yes {
					t.Fatalf("%s: no, but yes with %v, of %+v, %+v", expr, maps.Clone(guess), items[i].Event, items[i].Event.Task)
				}
			}
		}
	}
	for _, a := range []Answer{No, Yes, Unknown} {
		if answers[a] < expressions*5/6 {
			t.Errorf("the answer %v came %d times only: %v", a, answers[a], answers)
		}
	}
}
