package taskwatch

import (
	"go/ast"
	"testing"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

// A loss has its place, whoever reports it.
func TestEveryLossHasItsPlace(t *testing.T) {
	testutil.Require(t, testutil.NeedsSource("go.mod"))
	seen := 0
	eachSource(t, func(pkg, file string, f *ast.File) {
		if pkg == "internal/watchtest" {
			return // it is a test
		}
		all, wrong := losses(f)
		seen += all
		if wrong > 0 {
			t.Errorf("%s reports %d losses without a Seq", file, wrong)
		}
	})
	if seen == 0 {
		t.Error("no loss was found")
	}
	bad := parsed(t, "package p\n\nvar a, b, c, none = &Loss{Count: 1}, &taskwatch.Loss{}, taskwatch.Loss{Seq: 1}, Loss{}\n")
	if all, wrong := losses(bad); all != 3 || wrong != 2 {
		t.Errorf("of 3 losses, 2 of them without a Seq, %d and %d were found", all, wrong)
	}
}

// losses counts the losses that a file makes, and those that have no place.
func losses(f *ast.File) (all, wrong int) {
	made := map[ast.Node]bool{} // also without anything in it
	ast.Inspect(f, func(n ast.Node) bool {
		if u, ok := n.(*ast.UnaryExpr); ok {
			made[u.X] = true
		}
		lit, ok := n.(*ast.CompositeLit)
		if !ok || len(lit.Elts) == 0 && !made[lit] {
			return true
		}
		name, ok := lit.Type.(*ast.Ident)
		if sel, qualified := lit.Type.(*ast.SelectorExpr); qualified {
			name, ok = sel.Sel, true
		}
		if !ok || name.Name != "Loss" {
			return true
		}
		all++
		for _, e := range lit.Elts {
			if kv, ok := e.(*ast.KeyValueExpr); ok {
				if key, ok := kv.Key.(*ast.Ident); ok && key.Name == "Seq" {
					return true
				}
			}
		}
		wrong++
		return true
	})
	return all, wrong
}
