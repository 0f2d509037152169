package filter

import (
	"slices"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/enrich"
	"github.com/taskwatch/taskwatch/process"
)

// Answer is the answer of a filter: No, Yes or Unknown.
type Answer uint8

// The answers.
const (
	No Answer = iota
	Yes
	Unknown // it hangs on what the source could not tell
)

// String returns "no", "yes" or "unknown".
func (a Answer) String() string { return [...]string{"no", "yes", "unknown"}[a] }

// Options say how a [Filter] is made. The zero value is ready for use.
type Options struct {
	// CostLimit limits the work for one answer, in CEL's units, for untrusted
	// expressions; 0 means no limit. Parse rejects an expression that may cost
	// more. If an item turns out to cost more, the answer is Unknown.
	CostLimit uint64

	// Names looks up the names of containers; without it they are unknown.
	Names *enrich.Names
}

// Filter is an expression that selects items. It is made by [Parse]. Only one
// goroutine at a time may use it.
type Filter struct {
	expr  string
	prog  cel.Program
	kinds taskwatch.Kinds
	emits bool // it can match records of modules
	fails bool // and execs that failed
	reads taskwatch.Fields
	tree  bool
	names map[string]bool  // of variables
	needs taskwatch.Fields // without one of these, the kind cannot match
	plain []plain
	whole bool // plain is all there is

	item *item
}

// anyList is the type of a list of anything.
var anyList = cel.ListType(cel.TypeParamType("T"))

// env returns the environment of the language. It is built once.
var env = sync.OnceValues(func() (*cel.Env, error) {
	options := []cel.EnvOption{
		cel.CustomTypeAdapter(types.DefaultTypeAdapter),
		func(e *cel.Env) (*cel.Env, error) {
			return cel.CustomTypeProvider(provider{e.CELTypeProvider()})(e)
		},
		cel.Macros(slices.Concat(cel.StandardMacros, countPartial, comparePartial, []cel.Macro{
			cel.GlobalMacro("tree", 1, expandTree), cel.GlobalMacro("has", 1, expandHas),
		})...),
		cel.Variable(theEvent, eventClass.typ),
		cel.CrossTypeNumericComparisons(true), // maxrss_bytes > 1e9
		cel.ASTValidators(cel.ValidateDurationLiterals(), cel.ValidateTimestampLiterals(), cel.ValidateRegexLiterals(), cel.ValidateHomogeneousAggregateLiterals()),
		cel.Function("@count", cel.Overload("count_list", []*cel.Type{anyList}, cel.IntType), cel.SingletonUnaryBinding(count)),
		cel.Function(sameName, cel.Overload("same_lists", []*cel.Type{anyList, anyList}, cel.BoolType), cel.SingletonBinaryBinding(same)),
		cel.Function(differName, cel.Overload("differ_lists", []*cel.Type{anyList, anyList}, cel.BoolType), cel.SingletonBinaryBinding(differ)),
		cel.Function(joinedName, cel.Overload("joined_lists", []*cel.Type{anyList, anyList}, anyList), cel.SingletonBinaryBinding(joined)),
		cel.Function("tree", cel.MemberOverload("process_tree_int", []*cel.Type{selfClass.typ, cel.IntType}, cel.BoolType, cel.BinaryBinding(inTree))),
	}
	for _, name := range eventClass.names {
		options = append(options, cel.Variable(name, eventClass.fields[name].typ))
	}
	return cel.NewEnv(options...)
})

// expandTree turns tree(PID) into process.tree(PID), because a function does not
// see the item.
func expandTree(f cel.MacroExprFactory, _ ast.Expr, args []ast.Expr) (ast.Expr, *cel.Error) {
	return f.NewMemberCall("tree", f.NewIdent("process"), args...), nil
}

// theEvent is the event as an object. No expression can name it.
const theEvent = "@event"

// expandHas lets has() ask about all fields of an event: has(old_exe) becomes
// has(@event.old_exe). CEL's own knows only fields of something.
func expandHas(f cel.MacroExprFactory, target ast.Expr, args []ast.Expr) (ast.Expr, *cel.Error) {
	if args[0].Kind() == ast.IdentKind {
		name := args[0].AsIdent()
		if fd := eventClass.fields[name]; fd == nil || !fd.tree { // what the tree knows is not of a kind
			return f.NewPresenceTest(f.NewIdent(theEvent), name), nil
		}
	}
	return cel.HasMacro.Expander()(f, target, args)
}

// Parse reads an expression. Its error is an *[Error] with the place of the
// mistake.
func Parse(expr string, opts Options) (*Filter, error) {
	e, err := env()
	if err != nil {
		return nil, err
	}
	checked, iss := e.Compile(expr)
	if iss.Err() != nil {
		return nil, NewError(expr, iss)
	}
	if t := checked.OutputType(); !t.IsExactType(cel.BoolType) {
		return nil, &Error{Expr: expr, Message: "it is of type " + typeName(t.String()) + ", not true or false", Hint: "compare it with something"}
	}
	if err := checkKinds(expr, checked.NativeRep()); err != nil {
		return nil, err
	}
	options := []cel.ProgramOption{cel.EvalOptions(cel.OptOptimize)}
	if opts.CostLimit > 0 {
		cost, err := e.EstimateCost(checked, sizes{})
		if err != nil {
			return nil, &Error{Expr: expr, Message: err.Error()}
		}
		if cost.Max > opts.CostLimit {
			return nil, &Error{Expr: expr, Message: "it may cost too much", Hint: "leave out what is nested in exists, all or filter"}
		}
		options = append(options, cel.CostLimit(opts.CostLimit))
	}
	prog, err := e.Program(checked, options...)
	if err != nil {
		return nil, &Error{Expr: expr, Message: err.Error()}
	}
	f := &Filter{expr: expr, prog: prog, item: newItem(), names: map[string]bool{}}
	root := checked.NativeRep().Expr()
	f.read(checked.NativeRep())
	f.item.names = opts.Names
	f.needs = needsAll(root)
	f.whole = f.conjuncts(root)
	f.probe()
	return f, nil
}

// String returns the expression.
func (f *Filter) String() string { return f.expr }

// Kinds returns the kinds of event that the expression can match.
func (f *Filter) Kinds() taskwatch.Kinds { return f.kinds }

// Records reports whether the expression can match records of modules.
func (f *Filter) Records() bool { return f.emits }

// FailedExecs reports whether the expression can match execs that failed.
func (f *Filter) FailedExecs() bool { return f.fails }

// Never reports whether the expression can match nothing at all.
func (f *Filter) Never() bool { return f.kinds == 0 && !f.emits && !f.fails }

// Reads returns the fields that the expression reads.
func (f *Filter) Reads() taskwatch.Fields { return f.reads }

// Tree reports whether the expression asks about ancestors: [Filter.Match]
// then needs the item's process.
func (f *Filter) Tree() bool { return f.tree }

// Names reports whether the expression has a variable of that name in it.
func (f *Filter) Names(variable string) bool { return f.names[variable] }

// UseNames sets what looks up the names of containers. Call it before the first
// [Filter.Match].
func (f *Filter) UseNames(n *enrich.Names) { f.item.names = n }

// fieldsOf returns the fields that an event can have.
func fieldsOf(k taskwatch.Kind) taskwatch.Fields {
	return taskwatch.FieldsOf(k) | taskwatch.OptionalOf(k)
}

// Match returns whether the item is selected. A loss always is. A failure is if
// its event is. p is the process of the item's task, or nil if it is unknown.
func (f *Filter) Match(it taskwatch.Item, p *process.Process) Answer {
	i := f.item
	i.proc, i.unborn = p, false
	switch {
	case it.Event != nil:
		i.set(it.Event.Kind.String(), it.Event, fieldsOf(it.Event.Kind))
	case it.Failure != nil && it.Failure.Event != nil:
		ev := it.Failure.Event
		i.set(ev.Kind.String(), ev, fieldsOf(ev.Kind))
	case it.Record != nil:
		r := it.Record
		i.copy = taskwatch.Event{Kind: taskwatch.Attach, Seq: r.Seq, Time: r.Time, MonoNS: r.MonoNS, Source: r.Source, Task: r.Task, Missing: r.Missing}
		i.set(emitKind, &i.copy, taskwatch.FieldsTask)
	case it.Failed != nil:
		x := it.Failed
		i.copy = taskwatch.Event{Kind: taskwatch.Attach, Seq: x.Seq, Time: x.Time, MonoNS: x.MonoNS, Source: x.Source, Task: x.Task, Missing: x.Missing}
		i.set(taskwatch.FailedExecName, &i.copy, taskwatch.FieldsTask)
	default:
		return Yes
	}
	i.unborn = i.task.PID == 0
	if f.needs&^i.all != 0 {
		return No
	}
	for n := range f.plain {
		if f.plain[n].excludes(i) {
			return No
		}
	}
	if f.whole && f.known(i) {
		return Yes
	}
	return f.eval()
}

// emitKind is the kind of a module's record.
const emitKind = "emit"

func (f *Filter) eval() Answer {
	val, _, err := f.prog.Eval(f.item)
	switch {
	case types.IsUnknown(val):
		return Unknown
	case err != nil && isCost(err):
		return Unknown
	case err != nil:
		return No
	case val == types.True:
		return Yes
	}
	return No
}

// probe finds the kinds that the expression can match: it evaluates the
// expression with only the kind known.
func (f *Filter) probe() {
	f.item.probing = true
	can := func(name string, k taskwatch.Kind, has taskwatch.Fields) bool {
		ev := taskwatch.Event{Kind: k, Task: nobody}
		f.item.set(name, &ev, has)
		f.item.proc = nil
		return f.needs&^f.item.all == 0 && f.eval() != No
	}
	for k := taskwatch.Kind(0); k < taskwatch.NumKinds; k++ {
		if can(k.String(), k, fieldsOf(k)) {
			f.kinds |= taskwatch.KindsOf(k)
		}
	}
	f.emits = can(emitKind, 0, taskwatch.FieldsTask)
	f.fails = can(taskwatch.FailedExecName, 0, taskwatch.FieldsTask)
	f.item.probing = false
	f.item.ev, f.item.task = nil, nil
}

// read collects the fields that an expression reads.
func (f *Filter) read(checked *ast.AST) {
	note := func(c *class, name string) {
		if c == nil {
			return
		}
		if fd := c.fields[name]; fd != nil {
			f.reads |= fd.bit
			f.tree = f.tree || fd.tree
		}
	}
	ast.PostOrderVisit(checked.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		switch e.Kind() {
		case ast.IdentKind:
			name := strings.TrimPrefix(e.AsIdent(), ".") // .exe is the field where a list's variable is called exe
			note(eventClass, name)
			f.names[name] = true
		case ast.SelectKind:
			// By its type, since the object may come from a list or a condition.
			sel := e.AsSelect()
			note(classes[checked.GetType(sel.Operand().ID()).TypeName()], sel.FieldName())
		}
	}))
}

// needsAll returns what the conjuncts need.
func needsAll(e ast.Expr) (bits taskwatch.Fields) {
	if e.Kind() != ast.CallKind || e.AsCall().FunctionName() != operators.LogicalAnd {
		return needs(e)
	}
	for _, a := range e.AsCall().Args() {
		bits |= needsAll(a)
	}
	return bits
}

// needs returns the fields without which an expression is an error, whatever the
// others are, and so cannot be true. In CEL, unknown would win over the error.
func needs(e ast.Expr) (bits taskwatch.Fields) {
	switch e.Kind() {
	case ast.IdentKind:
		if fd := eventClass.fields[e.AsIdent()]; fd != nil {
			return fd.bit
		}
	case ast.SelectKind:
		sel := e.AsSelect()
		op := sel.Operand()
		if sel.IsTestOnly() {
			return 0
		}
		if op.Kind() == ast.IdentKind {
			if fd := eventClass.fields[op.AsIdent()]; fd != nil && classes[fd.typ.TypeName()] != nil {
				return classes[fd.typ.TypeName()].fields[sel.FieldName()].bit
			}
		}
		return needs(op)
	case ast.CallKind:
		call := e.AsCall()
		switch call.FunctionName() {
		case operators.LogicalAnd, operators.LogicalOr, operators.NotStrictlyFalse:
			return 0 // they absorb errors
		case operators.Conditional:
			return needs(call.Args()[0])
		}
		if call.IsMemberFunction() {
			bits = needs(call.Target())
		}
		for _, a := range call.Args() {
			bits |= needs(a)
		}
	case ast.ListKind:
		for _, x := range e.AsList().Elements() {
			bits |= needs(x)
		}
	case ast.ComprehensionKind:
		return needs(e.AsComprehension().IterRange())
	}
	return bits
}
