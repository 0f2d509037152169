// Package selector chooses nodes by expressions in CEL over their facts.
package selector

import (
	"fmt"
	"slices"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"

	"github.com/taskwatch/taskwatch/filter"
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

// IsLabel reports whether an expression can name a label so.
func IsLabel(name string) bool {
	for i, r := range name {
		if r != '_' && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	s, err := Parse(name + ` == ""`) // not a word of the language
	return err == nil && slices.Equal(s.labels, []string{name})
}

// Parse reads an expression; "" chooses all nodes. The error of a mistake in it matches
// a [filter.Error].
func Parse(expr string) (*Selector, error) {
	if expr == "" {
		return &Selector{}, nil
	}
	fail := func(err error) error { return fmt.Errorf("select: %w", err) }
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
		return nil, fail(filter.NewError(expr, iss))
	}
	s := &Selector{}
	for _, e := range ast.MatchDescendants(ast.NavigateAST(parsed.NativeRep()), ast.KindMatcher(ast.IdentKind)) {
		if name := e.AsIdent(); !IsFact(name) && !bound(e, name) && !slices.Contains(s.labels, name) {
			s.labels = append(s.labels, name)
		}
	}
	for _, name := range s.labels {
		options = append(options, cel.Variable(name, cel.StringType))
	}
	if env, err = cel.NewEnv(options...); err != nil {
		return nil, fail(err)
	}
	checked, iss := env.Check(parsed)
	if iss.Err() != nil {
		return nil, fail(filter.NewError(expr, iss))
	}
	if !checked.OutputType().IsExactType(cel.BoolType) {
		return nil, fail(&filter.Error{Expr: expr, Line: 1, Message: fmt.Sprintf("it is of type %s, not true or false", checked.OutputType()), Hint: "compare it with something"})
	}
	if s.prog, err = env.Program(checked, cel.CostLimit(costLimit)); err != nil {
		return nil, fail(err)
	}
	return s, nil
}

// bound reports whether a name stands for an element of a list, as in
// ["a", "b"].exists(s, s == site), and so for no label.
func bound(e ast.NavigableExpr, name string) bool {
	for parent, ok := e.Parent(); ok; parent, ok = e.Parent() {
		if parent.Kind() == ast.ComprehensionKind {
			c := parent.AsComprehension()
			outside := e.ID() == c.IterRange().ID() || e.ID() == c.AccuInit().ID()
			if !outside && (name == c.IterVar() || name == c.IterVar2() || name == c.AccuVar()) {
				return true
			}
		}
		e = parent
	}
	return false
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
