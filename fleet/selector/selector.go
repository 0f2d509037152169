// Package selector chooses nodes by expressions in CEL over their facts.
package selector

import (
	"fmt"
	"slices"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"

	"github.com/taskwatch/taskwatch/fleet"
)

// costLimit bounds the work for one node, in CEL's units.
const costLimit = 10_000

// Selector is an expression that chooses nodes.
type Selector struct {
	prog   cel.Program // nil chooses all
	labels []string    // that the expression names
}

// facts are the names of facts that are not labels, with their types. Every
// other name is that of a label.
var facts = map[string]*cel.Type{
	"name": cel.StringType, "arch": cel.StringType, "kernel": cel.StringType, "version": cel.StringType, "source": cel.StringType,
	"kernel_modules": cel.BoolType,
}

// IsFact reports whether a name is that of a fact, so that no label may have it.
func IsFact(name string) bool { return facts[name] != nil }

// Parse reads an expression; "" chooses all nodes.
func Parse(expr string) (*Selector, error) {
	if expr == "" {
		return &Selector{}, nil
	}
	fail := func(err error) error { return fmt.Errorf("select: %s: %w", expr, err) }
	var options []cel.EnvOption
	for name, t := range facts {
		options = append(options, cel.Variable(name, t))
	}
	env, err := cel.NewEnv(options...)
	if err != nil {
		return nil, fail(err)
	}
	parsed, iss := env.Parse(expr)
	if iss.Err() != nil {
		return nil, fail(iss.Err())
	}
	s := &Selector{}
	ast.PostOrderVisit(parsed.NativeRep().Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() == ast.IdentKind && !IsFact(e.AsIdent()) && !slices.Contains(s.labels, e.AsIdent()) {
			s.labels = append(s.labels, e.AsIdent())
		}
	}))
	for _, name := range s.labels {
		options = append(options, cel.Variable(name, cel.StringType))
	}
	if env, err = cel.NewEnv(options...); err != nil {
		return nil, fail(err)
	}
	checked, iss := env.Check(parsed)
	if iss.Err() != nil {
		return nil, fail(iss.Err())
	}
	if !checked.OutputType().IsExactType(cel.BoolType) {
		return nil, fail(fmt.Errorf("it is %s, not true or false; compare it with something", checked.OutputType()))
	}
	if s.prog, err = env.Program(checked, cel.CostLimit(costLimit)); err != nil {
		return nil, fail(err)
	}
	return s, nil
}

// Labels returns the labels that the expression names.
func (s *Selector) Labels() []string { return slices.Clone(s.labels) }

// Chooses reports whether a node with these facts is chosen. A label that it does
// not have is "".
func (s *Selector) Chooses(f *fleet.Facts) (bool, error) {
	if s.prog == nil {
		return true, nil
	}
	values := map[string]any{
		"name": f.Name, "arch": f.Arch, "kernel": f.Kernel, "version": f.Version, "source": f.Source, "kernel_modules": f.KernelModules,
	}
	for _, name := range s.labels {
		values[name] = f.Labels[name]
	}
	out, _, err := s.prog.Eval(values)
	if err != nil {
		return false, fmt.Errorf("select: %w", err)
	}
	chosen, ok := out.Value().(bool)
	return ok && chosen, nil
}
