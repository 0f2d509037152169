package filter

import (
	"fmt"
	"slices"
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/taskwatch/taskwatch"
)

// kindNames returns the values of kind.
func kindNames() (names []string) {
	for _, k := range taskwatch.AllKinds.List() {
		names = append(names, k.String())
	}
	return append(names, emitKind, taskwatch.FailedExecName)
}

// checkKinds reports a comparison of kind with a text that is not a kind.
// Otherwise a typing error would silently leave out events.
func checkKinds(expr string, checked *ast.AST) error {
	var wrong *Error
	check := func(text ast.Expr) {
		if text.Kind() != ast.LiteralKind || wrong != nil {
			return
		}
		s, ok := ref.Val(text.AsLiteral()).(types.String)
		names := kindNames()
		if !ok || slices.Contains(names, string(s)) {
			return
		}
		at := checked.SourceInfo().GetStartLocation(text.ID())
		wrong = &Error{Expr: expr, Line: at.Line(), Column: at.Column(), Message: fmt.Sprintf("there is no kind %q", string(s)), Hint: "there are " + strings.Join(names, ", ")}
	}
	isKind := func(e ast.Expr) bool { return e.Kind() == ast.IdentKind && e.AsIdent() == "kind" }
	ast.PostOrderVisit(checked.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() != ast.CallKind || len(e.AsCall().Args()) != 2 {
			return
		}
		a, b := e.AsCall().Args()[0], e.AsCall().Args()[1]
		switch e.AsCall().FunctionName() {
		case operators.Equals, operators.NotEquals:
			if isKind(a) {
				check(b)
			} else if isKind(b) {
				check(a)
			}
		case operators.In:
			if isKind(a) && b.Kind() == ast.ListKind {
				for _, text := range b.AsList().Elements() {
					check(text)
				}
			}
		}
	}))
	if wrong == nil {
		return nil // not a nil *Error
	}
	return wrong
}
