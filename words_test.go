package taskwatch

import (
	"go/ast"
	"go/token"
	"slices"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

// oneMeaning are words of docs/glossary.md that stood for several things, as names of
// types, with the packages whose types may have them.
var oneMeaning = map[string][]string{
	"entry":  {"fleet", "fleet/node", "module/kernel/internal/bpfmap", "sink/compiledb", "source/bpf"}, // of a fleet, of a map, and as the format calls it
	"table":  {"internal/bench", "internal/table", "module/kernel", "source/bpf"},                      // rows and columns, and what the kernel calls
	"stream": {"daemon", "source/bpf"},                                                                 // what a client gets
}

// Names keep to the glossary. In fleets, Refused is a state of the interface.
func TestWords(t *testing.T) {
	testutil.Require(t, testutil.NeedsSource("go.mod"))
	has := map[string]bool{}
	eachSource(t, func(pkg, file string, f *ast.File) {
		for _, name := range typesOf(f) {
			word := strings.ToLower(name)
			packages, ours := oneMeaning[word]
			if !ours {
				continue
			}
			has[word+" "+pkg] = true
			if !slices.Contains(packages, pkg) {
				t.Errorf("%s calls a type %s, which docs/glossary.md has for something else: name it after what it is", file, name)
			}
		}
		for _, name := range namesWith(f, "refus") {
			if pkg != "fleet" && !strings.HasPrefix(pkg, "fleet/") {
				t.Errorf("%s has the name %s: an operation is denied, and what is not accepted is rejected", file, name)
			}
		}
	})
	for word, packages := range oneMeaning {
		for _, pkg := range packages {
			if !has[word+" "+pkg] {
				t.Errorf("%s has no type %s any more", pkg, word)
			}
		}
	}
	bad := parsed(t, "package p\n\ntype Entry struct{ x int }\n\nfunc (e *Entry) refuse() { stream := 1; _ = stream }\n\nvar refusal = unix.ECONNREFUSED\n")
	if names, types := namesWith(bad, "refus"), typesOf(bad); len(names) != 2 || len(types) != 1 {
		t.Errorf("of two names and a type, %q and %q were found", names, types)
	}
}

// typesOf returns the names of the types that a file declares.
func typesOf(f *ast.File) (names []string) {
	for _, decl := range f.Decls {
		if d, ok := decl.(*ast.GenDecl); ok && d.Tok == token.TYPE {
			for _, spec := range d.Specs {
				names = append(names, spec.(*ast.TypeSpec).Name.Name)
			}
		}
	}
	return names
}

// namesWith returns the names with a part in them that a file has, but for those
// behind a dot, which are declared elsewhere.
func namesWith(f *ast.File, part string) (names []string) {
	behind := map[*ast.Ident]bool{}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			behind[n.Sel] = true
		case *ast.Ident:
			if !behind[n] && strings.Contains(strings.ToLower(n.Name), part) {
				names = append(names, n.Name)
			}
		}
		return true
	})
	return names
}
