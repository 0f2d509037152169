package compiledb

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/taskwatch/taskwatch/internal/lazyregexp"
)

// dialect is how a compiler reads its arguments.
type dialect int

const (
	none dialect = iota
	gcc          // gcc, clang, and all that take their options
	nvcc
)

// compilers matches the names of compilers: an optional prefix, that of a cross
// compiler, the name, an optional version. A version without a dash is for few
// of them: cc1 and f951 are no compilers of that kind.
var compilers = lazyregexp.New(`^(?:[A-Za-z0-9_.+-]+-)?(?:` +
	`(?:gcc|g\+\+|clang|clang\+\+|gfortran)(?:-?` + version + `)?|` +
	`(?:cc|c\+\+|cxx|CC|c89|c99|mcc|m\+\+|gnatgcc|icc|icpc|icx|icpx|nvc|nvc\+\+|armclang|armclang\+\+|tcc|` +
	`fortran|f77|g77|f95|flang|flang-new|ifort|ifx|nvfortran)(?:-` + version + `)?` +
	`)(?:-posix|-win32)?$`)

const version = `[0-9]+(?:\.[0-9]+){0,2}`

// launchers are programs that run a compiler given as their first argument, or
// that are linked under the name of one.
var launchers = []string{"ccache", "distcc", "sccache", "icecc", "buildcache"}

// shells run a script that may have the name of a compiler.
var shells = []string{"sh", "bash", "dash", "ksh", "zsh", "busybox", "perl", "python", "python3"}

// call is a command line of a compiler.
type call struct {
	compiler string   // as it was named
	args     []string // without the compiler's name
	dialect  dialect
	own      *Compiler // from the configuration, or nil
}

// nested returns the call behind a launcher or a script, and whether the
// program is one. A launcher that runs no compiler gives an empty call.
func (o *Options) nested(argv []string) (inner []string, ok bool) {
	name := filepath.Base(argv[0])
	switch {
	case o.isLauncher(name):
		rest := argv[1:]
		for len(rest) > 0 && assignment.MatchString(rest[0]) { // ccache takes settings there
			rest = rest[1:]
		}
		if len(rest) == 0 {
			return nil, true
		}
		if d, _ := o.compiler(rest[0], ""); d == none && !o.isLauncher(filepath.Base(rest[0])) {
			if name == "distcc" && (strings.HasPrefix(rest[0], "-") && !slices.Contains(distccOnly, rest[0]) || isSource(rest[0])) {
				return append([]string{"cc"}, rest...), true // which it takes where none is named
			}
			return nil, true // a question about the cache, or a program that is none of ours
		}
		return rest, true
	case slices.Contains(shells, strings.TrimRight(name, "0123456789.")) && len(argv) > 1 && !strings.HasPrefix(argv[1], "-"):
		if d, _ := o.compiler(argv[1], ""); d != none || o.isLauncher(filepath.Base(argv[1])) {
			return argv[1:], true
		}
	}
	return nil, false
}

var assignment = lazyregexp.New(`^[a-z_]+=`)

// distccOnly are the options with which distcc runs no compiler.
var distccOnly = []string{"--help", "--version", "--show-hosts", "--scan-includes", "-j", "--show-principal"}

func (o *Options) isLauncher(name string) bool {
	return slices.Contains(launchers, name) || slices.Contains(o.Launchers, name)
}

// compiler returns how a program reads its arguments, or none if it is not a
// compiler. Compilers are recognized by path, or else by name.
func (o *Options) compiler(name, exe string) (dialect, *Compiler) {
	base := filepath.Base(name)
	for _, excluded := range o.Exclude {
		if excluded == name || excluded == exe || excluded == base {
			return none, nil
		}
	}
	for i := range o.Compilers {
		if c := &o.Compilers[i]; c.Name == name || c.Name == exe || c.Name == base {
			if c.Like == "nvcc" {
				return nvcc, c
			}
			return gcc, c
		}
	}
	switch {
	case base == "nvcc":
		return nvcc, nil
	case compilers.MatchString(base):
		return gcc, nil
	}
	return none, nil
}

// recognize returns the call of a compiler in the command line of a program,
// and whether the program is a compiler or a launcher at all. If so, what it
// runs does not count, even if this call compiles nothing.
func (o *Options) recognize(exe string, argv []string) (c *call, ours bool) {
	if len(argv) == 0 {
		return nil, false
	}
	if base := filepath.Base(exe); o.isLauncher(base) && filepath.Base(argv[0]) != base {
		// Linked under the name of a compiler.
		exe = ""
	}
	for range 8 { // launchers of launchers
		d, own := o.compiler(argv[0], exe)
		if d != none {
			return &call{compiler: argv[0], args: argv[1:], dialect: d, own: own}, true
		}
		inner, ok := o.nested(argv)
		if !ok {
			return nil, ours
		}
		if ours = true; len(inner) == 0 {
			return nil, ours
		}
		argv, exe = inner, ""
	}
	return nil, ours
}
