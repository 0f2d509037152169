package taskwatch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

// readProc are the packages, beside internal/procfs, whose code names a file of
// /proc, with the reason.
var readProc = map[string]string{
	"internal/testutil":      "the tests of the root package import nothing else, and no test trusts what it tests",
	"internal/watchtest":     "is the truth that what internal/procfs has read is compared with",
	"internal/procfs":        "that is what it is for",
	"internal/procfs/timens": "that too; it is apart because internal/sys imports it",
}

// What /proc says is read in one place: what its files look like, that a task may be
// gone, and whose numbers they have, is known there.
func TestOneReaderOfProc(t *testing.T) {
	testutil.Require(t, testutil.NeedsSource("go.mod"))
	found := map[string]bool{}
	eachSource(t, func(pkg, file string, f *ast.File) {
		for _, name := range namesOfProc(f) {
			found[pkg] = true
			if readProc[pkg] == "" {
				t.Errorf("%s names %s: read it by internal/procfs", file, name)
			}
		}
	})
	for pkg := range readProc {
		if !found[pkg] {
			t.Errorf("%s names no file of /proc any more", pkg)
		}
	}
	bad := parsed(t, "package p\n\nvar a, b, c = \"/proc/self/exe\", `/proc/` + x, \"in /proc/self\"\n")
	if names := namesOfProc(bad); len(names) != 2 {
		t.Errorf("of two names of files, %q were found", names)
	}
}

// namesOfProc returns the string literals that begin with /proc/.
func namesOfProc(f *ast.File) (names []string) {
	ast.Inspect(f, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			if s, err := strconv.Unquote(lit.Value); err == nil && strings.HasPrefix(s, "/proc/") {
				names = append(names, s)
			}
		}
		return true
	})
	return names
}

// eachSource calls fn with each file that is no test.
func eachSource(t *testing.T, fn func(pkg, file string, f *ast.File)) {
	t.Helper()
	for pkg := range importsOf(t, ".", false) {
		files, err := filepath.Glob(filepath.Join(filepath.FromSlash(pkg), "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			fn(pkg, file, f)
		}
	}
}

func parsed(t *testing.T, text string) *ast.File {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "text.go", text, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	return f
}
