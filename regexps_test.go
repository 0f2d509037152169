package taskwatch

import (
	"go/ast"
	"go/token"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

// No regular expression is compiled before main, where a command that is run waits for
// it, and each that is compiled later is one.
func TestRegexpsAreCompiledWhenUsed(t *testing.T) {
	testutil.Require(t, testutil.NeedsSource("go.mod"))
	found := 0
	eachSource(t, func(pkg, file string, f *ast.File) {
		if matches("test/...", pkg) {
			return // programs of their own
		}
		early, lazy := regexpsIn(f)
		for _, text := range early {
			t.Errorf("%s: %q is compiled before main: use internal/lazyregexp", file, text)
		}
		for _, text := range lazy {
			found++
			if _, err := regexp.Compile(text); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
	})
	if found == 0 {
		t.Error("no expression was found")
	}
	const text = "package p\nvar a = regexp.MustCompile(`a`)\nvar b = []t{{lazyregexp.New(`b` + c)}}\nconst c = \"[\"\nfunc f() { regexp.MustCompile(`c`) }\n"
	if early, lazy := regexpsIn(parsed(t, text)); len(early) != 1 || early[0] != "a" || len(lazy) != 1 || lazy[0] != "b[" {
		t.Errorf("compiled before main: %q; when used: %q", early, lazy)
	}
}

// regexpsIn returns the texts of the regular expressions that a file compiles outside of
// functions, and of those that are compiled when they are used.
func regexpsIn(f *ast.File) (early, lazy []string) {
	constants := constantsOf(f)
	for _, decl := range f.Decls {
		_, function := decl.(*ast.FuncDecl)
		ast.Inspect(decl, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) != 1 {
				return true
			}
			name, ok := call.Fun.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			pkg, ok := name.X.(*ast.Ident)
			switch {
			case !ok:
			case pkg.Name == "lazyregexp" && name.Sel.Name == "New":
				lazy = append(lazy, constantText(call.Args[0], constants))
			case pkg.Name == "regexp" && strings.HasPrefix(name.Sel.Name, "MustCompile") && !function:
				early = append(early, constantText(call.Args[0], constants))
			}
			return true
		})
	}
	return early, lazy
}

// constantsOf returns the constants of a file by their names.
func constantsOf(f *ast.File) map[string]ast.Expr {
	constants := map[string]ast.Expr{}
	for _, decl := range f.Decls {
		d, ok := decl.(*ast.GenDecl)
		if !ok || d.Tok != token.CONST {
			continue
		}
		for _, spec := range d.Specs {
			spec := spec.(*ast.ValueSpec)
			for i, value := range spec.Values {
				constants[spec.Names[i].Name] = value
			}
		}
	}
	return constants
}

// constantText returns the value of literals, of constants of the same file, and of
// their sums. Anything else becomes a text that is no regular expression.
func constantText(e ast.Expr, constants map[string]ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		if text, err := strconv.Unquote(e.Value); err == nil {
			return text
		}
	case *ast.Ident:
		if value := constants[e.Name]; value != nil {
			return constantText(value, nil)
		}
	case *ast.BinaryExpr:
		if e.Op == token.ADD {
			return constantText(e.X, constants) + constantText(e.Y, constants)
		}
	}
	return "(not a constant"
}
