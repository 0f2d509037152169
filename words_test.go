package taskwatch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

// oneMeaning are words of docs/glossary.md that stood for several things, as names of
// types, with the packages whose types may have them.
var oneMeaning = map[string][]string{
	"entry":  {"fleet", "fleet/node", "module/kernel/internal/bpfmap", "sink/compiledb"}, // of a fleet, of a map, and as the format calls it
	"table":  {"internal/bench", "internal/table", "module/kernel"},                      // rows and columns, and what the kernel calls
	"stream": {"daemon"},                                                                 // what a client gets
}

// Names keep to the glossary.
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
			t.Errorf("%s has the name %s: an operation is denied, and what is not accepted is rejected", file, name)
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

// A stranger writes a watcher in ten lines and a sink in thirty: those of the examples.
func TestExamplesAreShort(t *testing.T) {
	testutil.Require(t, testutil.NeedsSource("go.mod"))
	const file = "example_test.go"
	set := token.NewFileSet()
	f, err := parser.ParseFile(set, file, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	lines := func(n ast.Node) int { return set.Position(n.End()).Line - set.Position(n.Pos()).Line + 1 }
	watcher, sink := 0, 0
	for _, decl := range f.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			switch {
			case d.Recv != nil: // the sink has the only methods
				sink += lines(d)
			case d.Name.Name == "Example":
				watcher = lines(d.Body.List[0]) + lines(d.Body.List[1]) // the module, and its Watch
			}
		case *ast.GenDecl:
			if d.Tok == token.TYPE {
				sink += lines(d)
			}
		}
	}
	if watcher < 2 || watcher > 10 || sink < 2 || sink > 30 {
		t.Errorf("the watcher has %d lines and the sink %d, want at most 10 and 30", watcher, sink)
	}
}

// Everything that is reported goes one way, as an item: there is no callback beside it.
func TestNoSideChannels(t *testing.T) {
	testutil.Require(t, testutil.NeedsSource("go.mod"))
	side := func(pkg string, f *ast.File) (names []string) {
		for _, name := range []string{"OnLost", "OnReport", "OnEmit", "OnError"} {
			if name != "OnError" || pkg != "module/wasm" { // there it is what is decided for a module that crashes
				names = append(names, namesWith(f, strings.ToLower(name))...)
			}
		}
		return slices.DeleteFunc(names, func(name string) bool { return !ast.IsExported(name) })
	}
	eachSource(t, func(pkg, file string, f *ast.File) {
		for _, name := range side(pkg, f) {
			t.Errorf("%s has %s: what is to be told is an item", file, name)
		}
	})
	if found := side("p", parsed(t, "package p\n\ntype Config struct{ OnLost, OnError func() }\n\nvar x = flag.ContinueOnError\n")); len(found) != 2 {
		t.Errorf("of two callbacks, %q were found", found)
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
