package filter

import (
	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/taskwatch/taskwatch"
)

// plain is a conjunct that needs no evaluation: a field must have one of some
// values.
type plain struct {
	field   *field
	numbers []int64
	texts   []string
}

// excludes reports whether an item is certainly not selected.
func (p *plain) excludes(it *item) bool {
	if p.field.bit != 0 && it.has&p.field.bit == 0 {
		return it.all&p.field.bit == 0 // an error, with which no conjunction is true
	}
	switch v := p.field.get(&it.root).(type) {
	case *types.Unknown:
		return false
	case types.Int:
		for _, n := range p.numbers {
			if int64(v) == n {
				return false
			}
		}
	case types.String:
		for _, s := range p.texts {
			if string(v) == s {
				return false
			}
		}
	}
	return true
}

// known reports whether all fields of the plain conjuncts are known.
func (f *Filter) known(it *item) bool {
	for n := range f.plain {
		bit := f.plain[n].field.bit
		if bit != 0 && it.has&bit == 0 || bit == taskwatch.FieldArgv && it.task.ArgvCut {
			return false
		}
	}
	return true
}

// conjuncts finds the plain ones, and reports whether they are all.
func (f *Filter) conjuncts(e ast.Expr) bool {
	if e.Kind() != ast.CallKind {
		return false
	}
	call := e.AsCall()
	args := call.Args()
	switch call.FunctionName() {
	case operators.LogicalAnd:
		all := true
		for _, a := range args {
			all = f.conjuncts(a) && all
		}
		return all
	case operators.Equals:
		if f.addPlain(args[0], []ast.Expr{args[1]}) {
			return true
		}
		return f.addPlain(args[1], []ast.Expr{args[0]})
	case operators.In:
		return args[1].Kind() == ast.ListKind && f.addPlain(args[0], args[1].AsList().Elements())
	}
	return false
}

func (f *Filter) addPlain(name ast.Expr, values []ast.Expr) bool {
	if name.Kind() != ast.IdentKind {
		return false
	}
	fd := eventClass.fields[name.AsIdent()]
	if fd == nil || fd.tree || fd.typ != cel.IntType && fd.typ != cel.StringType {
		return false
	}
	p := plain{field: fd}
	for _, v := range values {
		if v.Kind() != ast.LiteralKind {
			return false
		}
		switch v := ref.Val(v.AsLiteral()).(type) {
		case types.Int:
			p.numbers = append(p.numbers, int64(v))
		case types.String:
			p.texts = append(p.texts, string(v))
		default:
			return false
		}
	}
	f.plain = append(f.plain, p)
	return true
}
