package filter

import (
	"math"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

var unknownAncestors = types.NewUnknown(1, types.NewAttributeTrail("ancestors"))

// ancestorsOf returns the ancestors as far as they are known.
func ancestorsOf(o *object) ref.Val {
	p, has := o.item.maker()
	var list []ref.Val
	for has && p != nil {
		list = append(list, &object{class: processClass, item: o.item, proc: p})
		has = p.PID != 1
		p = p.Parent()
	}
	if !has {
		return types.NewRefValList(types.DefaultTypeAdapter, list)
	}
	known := len(list)
	list = append(list, unknownAncestors)
	return &topless{Lister: types.NewRefValList(types.DefaultTypeAdapter, list), known: known}
}

// topless is a list of ancestors with an unknown end: its last element is
// unknown. CEL asks for its size to check an index.
type topless struct {
	traits.Lister
	known int
}

func (l *topless) Get(index ref.Val) ref.Val {
	if n, ok := index.(types.Int); ok && int64(n) >= int64(l.known) {
		return unknownAncestors
	}
	return l.Lister.Get(index)
}

func (l *topless) Size() ref.Val { return types.Int(math.MaxInt32) }

// Fold visits the known elements, and not as many as Size says.
func (l *topless) Fold(f traits.Folder) { l.Lister.(traits.Foldable).Fold(f) }

// countAncestors turns size(ancestors) into process.depth(), because for CEL
// every list has a known size.
var countAncestors = []cel.Macro{
	cel.GlobalMacro("size", 1, func(f cel.MacroExprFactory, _ ast.Expr, args []ast.Expr) (ast.Expr, *cel.Error) {
		return expandSize(f, args[0])
	}),
	cel.ReceiverMacro("size", 0, func(f cel.MacroExprFactory, target ast.Expr, _ []ast.Expr) (ast.Expr, *cel.Error) {
		return expandSize(f, target)
	}),
}

func expandSize(f cel.MacroExprFactory, of ast.Expr) (ast.Expr, *cel.Error) {
	if of.Kind() != ast.IdentKind || of.AsIdent() != "ancestors" {
		return nil, nil // CEL's own
	}
	return f.NewMemberCall("depth", f.NewIdent("process")), nil
}

// depth returns how many ancestors the item's process has.
func depth(self ref.Val) ref.Val {
	o, ok := self.(*object)
	if !ok {
		return types.MaybeNoSuchOverloadErr(self)
	}
	if o.item.probing {
		return unknownAncestors
	}
	switch list := ancestorsOf(o).(type) {
	case *topless:
		return unknownAncestors
	case traits.Lister:
		return list.Size()
	}
	return unknownAncestors
}
