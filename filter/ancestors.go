package filter

import (
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
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
	return &partial{list, unknownAncestors}
}
