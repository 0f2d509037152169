package filter

import (
	"reflect"
	"slices"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// partial is a list of which only the beginning is known: ancestors, or
// arguments that were cut. What follows is unknown. It has no Size, and so is no
// traits.Lister, since CEL takes the size of every such list for known: [count]
// answers size().
type partial struct {
	known []ref.Val
	rest  *types.Unknown
}

var partialType = types.NewObjectType("list", traits.AdderType|traits.ContainerType|traits.IndexerType|traits.IterableType)

// cut returns the texts of a list that is not complete. The last one that is there
// may be only a part of itself, and counts as unknown.
func cut(texts []string, rest *types.Unknown) ref.Val {
	p := &partial{rest: rest}
	for _, s := range texts[:max(0, len(texts)-1)] {
		p.known = append(p.known, types.String(s))
	}
	return p
}

// Contains returns true if a value is in what is known.
func (p *partial) Contains(value ref.Val) ref.Val {
	for _, v := range p.known {
		if v.Equal(value) == types.True {
			return types.True
		}
	}
	return p.rest
}

// Equal returns false if a list differs in what is known.
func (p *partial) Equal(other ref.Val) ref.Val {
	list, ok := other.(traits.Lister)
	if !ok {
		return p.rest
	}
	for i, v := range p.known {
		if n, ok := list.Size().(types.Int); ok && int(n) <= i || v.Equal(list.Get(types.Int(i))) == types.False {
			return types.False
		}
	}
	return p.rest
}

// Get returns an element.
func (p *partial) Get(index ref.Val) ref.Val {
	n, ok := index.(types.Int)
	switch {
	case !ok:
		return types.MaybeNoSuchOverloadErr(index)
	case n < 0:
		return types.NewErr("index out of bounds: %d", n)
	case int64(n) < int64(len(p.known)):
		return p.known[n]
	}
	return p.rest
}

// Add returns that the concatenation is unknown.
func (p *partial) Add(ref.Val) ref.Val { return p.rest }

// Iterator visits what is known, and then that the rest is unknown.
func (p *partial) Iterator() traits.Iterator {
	return types.NewRefValList(types.DefaultTypeAdapter, append(p.known[:len(p.known):len(p.known)], p.rest)).Iterator()
}

func (p *partial) ConvertToNative(t reflect.Type) (any, error) {
	return nil, types.NewErr("a list that is not complete cannot become a %v", t).(*types.Err)
}

func (p *partial) ConvertToType(ref.Type) ref.Val { return p.rest }

func (p *partial) Type() ref.Type { return partialType }

func (p *partial) Value() any { return p } // CEL would index a slice itself

// countPartial turns the size() of lists that may be partial into @count().
var countPartial = []cel.Macro{
	cel.GlobalMacro("size", 1, func(f cel.MacroExprFactory, _ ast.Expr, args []ast.Expr) (ast.Expr, *cel.Error) {
		return expandSize(f, args[0])
	}),
	cel.ReceiverMacro("size", 0, func(f cel.MacroExprFactory, target ast.Expr, _ []ast.Expr) (ast.Expr, *cel.Error) {
		return expandSize(f, target)
	}),
}

// comparePartial has lists that may be partial compared by @same() and @differ(), and
// concatenated by @joined(): CEL's own operators take such a list for no list where
// the left one is whole, and whatever is not equal for unequal.
var comparePartial = []cel.Macro{
	replaceOperator(operators.Equals, sameName),
	replaceOperator(operators.NotEquals, differName),
	replaceOperator(operators.Add, joinedName),
}

const (
	sameName   = "@same"
	differName = "@differ"
	joinedName = "@joined"
)

// replaceOperator puts a call of a function in place of an operator, one of whose
// sides may be partial.
func replaceOperator(operator, function string) cel.Macro {
	return cel.GlobalMacro(operator, 2, func(f cel.MacroExprFactory, _ ast.Expr, args []ast.Expr) (ast.Expr, *cel.Error) {
		if slices.ContainsFunc(args, mayBePartial) {
			return f.NewCall(function, args...), nil
		}
		return nil, nil
	})
}

// same compares two lists.
func same(a, b ref.Val) ref.Val {
	if p, ok := b.(*partial); ok {
		return p.Equal(a)
	}
	return a.Equal(b)
}

// differ is the opposite of same.
func differ(a, b ref.Val) ref.Val {
	v := same(a, b)
	if v, ok := v.(types.Bool); ok {
		return !v
	}
	return v
}

// joined concatenates two lists.
func joined(a, b ref.Val) ref.Val {
	if p, ok := b.(*partial); ok {
		return p.rest
	}
	if list, ok := a.(traits.Adder); ok {
		return list.Add(b)
	}
	return types.MaybeNoSuchOverloadErr(a)
}

func expandSize(f cel.MacroExprFactory, of ast.Expr) (ast.Expr, *cel.Error) {
	if mayBePartial(of) {
		return f.NewCall("@count", of), nil
	}
	return nil, nil // CEL's own
}

// mayBePartial reports whether an expression names a list that may be partial.
func mayBePartial(of ast.Expr) bool {
	name := ""
	switch of.Kind() {
	case ast.IdentKind:
		name = of.AsIdent()
	case ast.SelectKind:
		name = of.AsSelect().FieldName()
	}
	return name == "argv" || name == "env" || name == "ancestors"
}

// count returns the size of a list, if it is known.
func count(list ref.Val) ref.Val {
	switch list := list.(type) {
	case *partial:
		return list.rest
	case traits.Sizer:
		return list.Size()
	}
	return types.MaybeNoSuchOverloadErr(list)
}
