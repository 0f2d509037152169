package taskwatch

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

const modulePath = "github.com/taskwatch/taskwatch"

type depRule struct {
	packages string
	imports  []string
}

type importerRule struct {
	imported  string
	importers []string
}

// depRules say what the packages of this module may import of each other, in
// code that is not a test. The first rule whose packages match holds; a
// package that none matches is an error, so that a new folder gets its place
// here. Paths are relative to the module, "." is the root package, and "x/..."
// is x and all below it. What is below source/x or module/x may import all of
// its own source/x or module/x.
var depRules = []depRule{
	{".", nil},
	{"record", []string{".", "internal/jsonstring"}},
	{"report", []string{".", "enrich", "process", "internal/clean", "internal/jsonstring", "internal/lazyregexp", "internal/names", "internal/table"}},
	{"process", []string{".", "internal/procfs"}},
	{"enrich", []string{"internal/procfs"}},
	{"enrich/cri", []string{"enrich"}},
	{"filter", []string{".", "enrich", "process", "internal/lazyregexp", "internal/names", "internal/table"}},
	{"sink/lane", []string{".", "process"}},
	{"sink/folded", []string{".", "process"}},
	{"sink/html", []string{".", "enrich", "process", "sink/lane", "internal/jsonstring"}},
	{"sink/compiledb", []string{".", "process", "internal/lazyregexp"}},
	{"sink/...", []string{".", "process", "sink/lane"}},
	{"top", []string{".", "enrich", "filter", "process", "internal/clean", "internal/names", "internal/table"}},
	{"ui", []string{".", "daemon", "enrich", "filter", "internal/procfs", "internal/sys", "modules", "process", "record", "sink/html", "source/replay"}},
	{"include/...", nil},
	{"guest/guesttest", []string{".", "guest/...", "internal/wire"}},
	{"guest/...", []string{"guest/..."}},
	{"modules/...", []string{"guest/...", "modules/..."}},

	{"internal/clean", nil},
	{"internal/jsonstring", nil},
	{"internal/lazyregexp", nil},
	{"internal/sys/...", []string{"internal/sys/...", "internal/procfs/timens"}},
	{"internal/procfs/timens", nil},
	{"internal/testutil/...", nil}, // the root's tests use it
	{"internal/testmodule/...", []string{"module/build", "internal/..."}},
	{"internal/watchtest/...", []string{".", "internal/...", "source", "record"}},
	{"internal/bench/profile", nil},
	{"internal/bench/...", []string{".", "daemon", "internal/...", "source/...", "module/...", "modules/...", "record"}},
	{"internal/early", []string{"internal/sys"}}, // see TestSignalsAreTakenEarly
	{"internal/...", []string{".", "internal/..."}},

	{"source", []string{".", "internal/..."}},
	{"source/replay/...", []string{".", "source", "record", "internal/..."}},
	{"source/auto", []string{".", "source", "source/bpf", "source/connector", "internal/features"}},
	{"source/bpf/gen", []string{"."}},
	{"source/bpf/...", []string{".", "source", "source/child", "module/kernel/...", "include", "internal/..."}},
	{"source/...", []string{".", "source", "internal/..."}},

	{"module", []string{".", "internal/..."}},
	{"module/host", []string{".", "internal/label", "module", "module/kernel", "module/wasm", "modules", "source"}},
	{"module/kernel/...", []string{".", "module", "module/internal/...", "include", "internal/..."}},
	{"module/wasm/rewrite", []string{".", "module/wasm/internal/..."}},
	{"module/wasm/...", []string{".", "module", "module/internal/...", "internal/..."}},
	{"module/...", []string{".", "module", "module/internal/...", "include", "guest", "internal/..."}},

	{"doctor", []string{".", "source/...", "module/...", "internal/..."}},
	{"daemon/...", []string{".", "daemon/...", "source/...", "module/...", "modules/...", "include", "enrich", "filter", "process", "record", "report", "sink/acct", "sink/audit", "sink/otlp", "internal/..."}},
	{"fleet", []string{"module", "module/sign", "internal/..."}},
	{"fleet/selector", []string{"filter", "fleet"}},
	{"fleet/operator", []string{".", "fleet", "fleet/selector", "module/sign", "record", "internal/..."}},
	{"fleet/registry", []string{"fleet", "module"}},
	{"fleet/node", []string{"fleet", "fleet/registry", "fleet/selector", "daemon", "module/host", "module/sign"}},
	{"cmd/...", []string{".", "cmd/...", "daemon/...", "fleet/...", "doctor", "source/...", "module/...", "modules/...", "include", "enrich", "enrich/cri", "filter", "process", "record", "report", "sink/...", "top", "ui", "internal/..."}},
	{"test/vm/cmd/kerneltable", []string{"test/vm", "doctor", "internal/..."}}, // makes a table of what doctor found
	{"test/...", []string{"test/...", "internal/..."}},
}

// importerRules say who may import what lies outside the module, or is meant
// for few. The first whose import matches holds; the standard library is free
// to all but for what stands here.
var importerRules = []importerRule{
	{"unsafe", []string{"internal/sys/...", "guest/...", "daemon/api", "enrich/cri", "sink/perfetto"}}, // the last three are generated, and turn a constant string into bytes
	{"C", nil},
	{"testing/...", []string{"internal/watchtest/...", "guest/guesttest", "internal/testutil/...", "internal/testmodule/...", "internal/strace/..."}},
	{modulePath + "/internal/watchtest/...", []string{"internal/watchtest/..."}},
	{modulePath + "/internal/bench/...", []string{"internal/bench/...", "cmd/..."}},
	{modulePath + "/internal/testutil/...", []string{"internal/watchtest/...", "test/...", "internal/strace/...", "internal/testmodule/..."}},
	{modulePath + "/internal/strace/...", []string{"internal/watchtest/..."}},
	{"github.com/tetratelabs/wazero/...", []string{"module/wasm"}},
	{"github.com/elastic/go-seccomp-bpf/...", []string{"source/ptrace/..."}},
	{"github.com/mdlayher/netlink/...", []string{"source/connector/...", "internal/cnproc/..."}},
	{"github.com/cilium/ebpf/...", []string{"source/bpf/...", "module/kernel/...", "module/internal/...", "internal/..."}},
	{"aead.dev/minisign", []string{"module/sign", "fleet/...", "cmd/..."}},
	{"github.com/nats-io/...", []string{"fleet/..."}}, // the client; the server is in a module of its own
	{"oras.land/oras-go/v2/...", []string{"fleet/registry"}},
	{"github.com/opencontainers/image-spec/...", []string{"fleet/registry"}},
	{"github.com/spf13/...", []string{"cmd/..."}},
	{"go.opentelemetry.io/proto/otlp/...", []string{"sink/otlp"}},
	{"connectrpc.com/connect/...", []string{"daemon/...", "enrich/cri", "sink/otlp", "cmd/..."}},
	{"cel.dev/cel-go/...", []string{"filter", "fleet/selector"}},
	{"github.com/rivo/uniseg", []string{"internal/table"}}, // so that all agree on how wide a text is
	{"text/tabwriter", nil}, // which counts characters: see internal/table,
	{"github.com/gdamore/tcell/v3/...", []string{"internal/pane", "cmd/..."}},
	{"github.com/charmbracelet/...", []string{"internal/pane"}},
	{"connectrpc.com/grpcreflect", []string{"daemon"}},
	{"github.com/BurntSushi/toml/...", []string{"daemon/..."}},
	{"github.com/coreos/go-systemd/v22/daemon", []string{"cmd/..."}},
	{"github.com/coreos/go-systemd/v22/journal", []string{"daemon"}},
	{"github.com/prometheus/client_golang/...", []string{"daemon/..."}},
	{"google.golang.org/protobuf/...", []string{"daemon/...", "enrich/cri", "sink/perfetto", "sink/otlp", "cmd/..."}},
	{"golang.org/x/net/bpf", []string{"source/ptrace/..."}}, // what go-seccomp-bpf assembles to
	{"github.com/google/pprof/...", []string{"internal/bench/profile"}},
	{"golang.org/x/sys/...", []string{"enrich", "fleet/node", "top", "sink/...", "doctor", "record", "report", "internal/...", "source/...", "module/...", "daemon/...", "cmd/...", "test/..."}},
}

func matches(pattern, path string) bool {
	base, below := strings.CutSuffix(pattern, "/...")
	return path == base || below && strings.HasPrefix(path, base+"/")
}

func matchesAny(patterns []string, path string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return matches(p, path) })
}

// wrongImports judges what each package imports.
func wrongImports(imports map[string][]string) (wrong []string) {
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	for _, pkg := range slices.Sorted(maps.Keys(imports)) {
		rule := slices.IndexFunc(depRules, func(r depRule) bool { return matches(r.packages, pkg) })
		if rule < 0 {
			say("%s is in a folder that depRules does not know: give it a rule", pkg)
			continue
		}
		for _, imported := range imports[pkg] {
			i := slices.IndexFunc(importerRules, func(r importerRule) bool { return matches(r.imported, imported) })
			rel, own := relative(imported)
			switch {
			case i >= 0 && !matchesAny(importerRules[i].importers, pkg):
				say("%s imports %s, which only %v may", pkg, imported, importerRules[i].importers)
			case own && !matchesAny(depRules[rule].imports, rel) && !sameSibling(pkg, rel):
				say("%s imports %s, and may import only %v", pkg, rel, depRules[rule].imports)
			case !own && i < 0 && strings.Contains(strings.Split(imported, "/")[0], "."):
				say("%s imports %s, which importerRules does not know: give it a rule", pkg, imported)
			}
		}
	}
	return wrong
}

// relative returns an import path as it stands in the rules, and whether it
// is of this module.
func relative(imported string) (string, bool) {
	if imported == modulePath {
		return ".", true
	}
	return strings.CutPrefix(imported, modulePath+"/")
}

// sameSibling reports whether two packages lie below the same source/x or
// module/x.
func sameSibling(a, b string) bool {
	pa, pb := strings.Split(a, "/"), strings.Split(b, "/")
	return len(pa) >= 2 && len(pb) >= 2 && (pa[0] == "source" || pa[0] == "module") && slices.Equal(pa[:2], pb[:2])
}

// importsOf reads the imports of all Go files below dir, whatever system they
// are for, by package: of those that are tests, or of the others.
func importsOf(t *testing.T, dir string, tests bool) map[string][]string {
	t.Helper()
	imports := map[string][]string{}
	err := filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if file != dir && (name == "testdata" || name == "vendor" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_")) {
				return filepath.SkipDir
			}
			if _, err := os.Stat(filepath.Join(file, "go.mod")); err == nil && file != dir {
				return filepath.SkipDir // another module
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") != tests {
			return nil
		}
		rel, err := filepath.Rel(dir, filepath.Dir(file))
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		pkg := filepath.ToSlash(rel)
		for _, spec := range f.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			imports[pkg] = append(imports[pkg], imported)
		}
		if imports[pkg] == nil {
			imports[pkg] = []string{} // there, and importing nothing
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for pkg, list := range imports {
		slices.Sort(list)
		imports[pkg] = slices.Compact(list)
	}
	return imports
}

func TestImportDirection(t *testing.T) {
	testutil.Require(t, testutil.NeedsSource("go.mod"))
	imports := importsOf(t, ".", false)
	if !slices.Contains(imports["."], "sync/atomic") {
		t.Fatalf("found no imports of the root package: %v", imports["."])
	}
	for _, wrong := range wrongImports(imports) {
		t.Error(wrong)
	}
}

// The root's tests run without anything that builds on the root.
func TestImportsOfTheRootsTests(t *testing.T) {
	testutil.Require(t, testutil.NeedsSource("go.mod"))
	for _, imported := range importsOf(t, ".", true)["."] {
		if rel, own := relative(imported); own && rel != "." && rel != "internal/testutil" ||
			!own && strings.Contains(imported, ".") {
			t.Errorf("a test of the root package imports %s", imported)
		}
	}
}

func TestImportRulesCatchMistakes(t *testing.T) {
	own := func(rel string) string { return path.Join(modulePath, rel) }
	for _, c := range []struct {
		pkg, imported string
		ok            bool
	}{
		{".", "sync", true},
		{".", "unsafe", false},
		{".", "golang.org/x/sys/unix", false},
		{".", own("record"), false},
		{".", own("internal/sys"), false},
		{"record", own("."), true},
		{"record", own("source"), false},
		{"report", own("record"), false},
		{"internal/sys", "unsafe", true},
		{"internal/procfs", "unsafe", false},
		{"internal/testutil", own("."), false},
		{"source", own("source/bpf"), false},
		{"source/bpf", own("source"), true},
		{"source/bpf", own("source/ptrace"), false},
		{"source/ptrace/inner", own("source/ptrace/other"), true},
		{"source/ptrace", own("record"), false},
		{"source/replay", own("record"), true},
		{"source/ptrace", own("daemon"), false},
		{"module/kernel", own("source/bpf"), false},
		{"source/bpf", own("module/kernel"), true},
		{"module/kernel", own("source/ptrace"), false},
		{"module/kernel", own("module/wasm"), false},
		{"module/wasm", own("source/bpf"), false},
		{"module/wasm", "github.com/tetratelabs/wazero/api", true},
		{"daemon", "github.com/tetratelabs/wazero", false},
		{"daemon", own("source/bpf"), true},
		{"daemon", own("cmd/taskwatch"), false},
		{"cmd/taskwatch", own("daemon"), true},
		{"cmd/taskwatch", own("internal/watchtest"), false},
		{"cmd/taskwatch", "testing", false},
		{"cmd/taskwatch", "example.com/unknown", false},
		{"internal/watchtest", own("record"), true},
		{"internal/watchtest", own("source/ptrace"), false},
		{"internal/watchtest", "testing", true},
		{"newfolder", "sync", false},
		{"source", "C", false},
	} {
		if wrong := wrongImports(map[string][]string{c.pkg: {c.imported}}); (len(wrong) == 0) != c.ok {
			t.Errorf("%s imports %s: found %q", c.pkg, c.imported, wrong)
		}
	}
}

// The types of the BPF library are no part of what the packages show.
func TestAPIHidesTheBPFLibrary(t *testing.T) {
	testutil.Require(t, testutil.NeedsSource("go.mod"))
	imports := importsOf(t, ".", false)
	seen := 0
	eachSource(t, func(pkg, file string, f *ast.File) {
		if strings.Contains("/"+pkg+"/", "/internal/") || !slices.ContainsFunc(imports[pkg], isBPFLibrary) {
			return
		}
		seen++
		for _, shown := range bpfTypesShown(f) {
			t.Errorf("%s shows %s", file, shown)
		}
	})
	if seen == 0 {
		t.Error("no file was looked at")
	}
	const bad = "package p\nimport \"github.com/cilium/ebpf/btf\"\nfunc (t *T) F() *btf.Cache { return nil }\nfunc (t *t) F() *btf.Cache { return nil }\ntype S struct { A btf.ID; b btf.ID }\n"
	if shown := bpfTypesShown(parsed(t, bad)); len(shown) != 2 {
		t.Errorf("of a method and a field that show a type, %q were found", shown)
	}
}

func isBPFLibrary(imported string) bool {
	return matches("github.com/cilium/ebpf/...", imported)
}

// bpfTypesShown returns the types of the BPF library in exported declarations.
func bpfTypesShown(f *ast.File) (shown []string) {
	names := map[string]bool{}
	for _, spec := range f.Imports {
		if p, err := strconv.Unquote(spec.Path.Value); err == nil && isBPFLibrary(p) {
			names[path.Base(p)] = true
		}
	}
	look := func(name string, n ast.Node) {
		ast.Inspect(n, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.Field:
				// A parameter shows its type under any name; a field, which has
				// one of its own, only under an exported one.
				return len(n.Names) == 0 || name == "" || n.Names[0].IsExported()
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok && names[x.Name] {
					shown = append(shown, x.Name+"."+n.Sel.Name)
				}
			}
			return true
		})
	}
	for _, decl := range f.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if !d.Name.IsExported() || d.Recv != nil && !exportedReceiver(d.Recv.List[0].Type) {
				continue
			}
			look("", d.Type)
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch spec := spec.(type) {
				case *ast.TypeSpec:
					if spec.Name.IsExported() {
						look(spec.Name.Name, spec.Type)
					}
				case *ast.ValueSpec:
					if spec.Names[0].IsExported() && spec.Type != nil {
						look("", spec.Type)
					}
				}
			}
		}
	}
	return shown
}

func exportedReceiver(t ast.Expr) bool {
	if p, ok := t.(*ast.StarExpr); ok {
		t = p.X
	}
	id, ok := t.(*ast.Ident)
	return ok && id.IsExported()
}
