package compiledb

import (
	"path/filepath"
	"slices"
	"strings"
)

// parsed is the content of a compiler's arguments.
type parsed struct {
	kept    []argument // all that an entry keeps, in their order
	sources []int      // places in kept
	output  string     // of -o, or ""
	links   bool       // a linker would run
	nothing bool       // nothing is compiled: a question, or preprocessing only
}

// argument is one or more words that belong together.
type argument struct {
	words  []string
	source bool
}

// use says what an option is for.
type use int

const (
	keep    use = iota
	forLink     // of the linker alone
	forMake     // writes rules for make, while compiling
	output
	language
	noLink   // compiles or assembles, and stops
	noSource // nothing is compiled
)

// option is a word that begins with a dash.
type option struct {
	name string
	use  use
	form form
}

// form is how an option's value is given.
type form int

const (
	alone   form = iota // it has none
	apart               // the next word is the value
	either              // the next word, or the rest of this one
	glued               // the rest of this word, which may be empty
	equals              // the next word, or what follows a "=" in this one
	onlyEnd             // what follows a "=" in this one
)

// gccOptions are the options of gcc and clang that do more than say how to
// compile, or whose value is a separate word. All other options are kept, as
// single words. If several names match, the longest one counts.
var gccOptions = []option{
	{"-c", noLink, alone}, {"--compile", noLink, alone},
	{"-S", noLink, alone}, {"--assemble", noLink, alone}, {"-fsyntax-only", noLink, alone}, {"-emit-ast", noLink, alone},
	{"-E", noSource, alone}, {"--preprocess", noSource, alone},
	{"-M", noSource, alone}, {"-MM", noSource, alone}, {"--dependencies", noSource, alone}, {"--user-dependencies", noSource, alone},
	{"--help", noSource, glued}, {"--target-help", noSource, alone}, {"--version", noSource, alone}, {"-###", noSource, alone},
	{"-dumpversion", noSource, alone}, {"-dumpmachine", noSource, alone}, {"-dumpfullversion", noSource, alone}, {"-dumpspecs", noSource, alone},
	{"-print-", noSource, glued}, {"--print-", noSource, glued},

	{"-o", output, either}, {"--output", output, equals},
	{"-x", language, either}, {"--language", language, equals},

	{"-MD", forMake, alone}, {"-MMD", forMake, alone}, {"-MP", forMake, alone}, {"-MG", forMake, alone},
	{"-MF", forMake, either}, {"-MT", forMake, either}, {"-MQ", forMake, either}, {"-MJ", forMake, either},

	{"-l", forLink, either}, {"-L", forLink, either}, {"--library-directory", forLink, equals},
	{"-Wl,", forLink, glued}, {"-Xlinker", forLink, apart}, {"--for-linker", forLink, equals},
	{"-shared", forLink, glued}, {"-static", forLink, glued}, {"-rdynamic", forLink, alone}, {"-s", forLink, alone},
	{"-pie", forLink, alone}, {"-no-pie", forLink, alone}, {"-nopie", forLink, alone},
	{"-nostartfiles", forLink, alone}, {"-nodefaultlibs", forLink, alone}, {"-nolibc", forLink, alone}, {"-nostdlib", forLink, alone},
	{"-symbolic", forLink, alone}, {"-r", forLink, alone}, {"-fuse-ld", forLink, onlyEnd}, {"-flinker-output", forLink, onlyEnd},
	{"-T", forLink, either}, {"-Tbss", forLink, equals}, {"-Tdata", forLink, equals}, {"-Ttext", forLink, equals},
	{"-u", forLink, either}, {"-z", forLink, either}, {"-e", forLink, apart}, {"-entry", forLink, equals},
	{"-R", forLink, either}, {"-rpath", forLink, equals}, {"-framework", forLink, apart},

	{"-D", keep, either}, {"-U", keep, either}, {"-A", keep, either}, {"-I", keep, either}, {"-F", keep, either}, {"-B", keep, either},
	{"-J", keep, either}, {"-G", keep, either},
	{"-include", keep, apart}, {"-imacros", keep, apart}, {"-include-pch", keep, apart}, {"--include", keep, equals},
	{"-iquote", keep, either}, {"-isystem", keep, either}, {"-idirafter", keep, either}, {"-iprefix", keep, either},
	{"-iwithprefix", keep, either}, {"-iwithprefixbefore", keep, either}, {"-isysroot", keep, either}, {"-imultilib", keep, either},
	{"-iframework", keep, either}, {"-ivfsoverlay", keep, either}, {"-cxx-isystem", keep, either},
	{"--sysroot", keep, equals}, {"--param", keep, equals}, {"--prefix", keep, equals}, {"--include-directory", keep, equals},
	{"--define-macro", keep, equals}, {"--undefine-macro", keep, equals}, {"--std", keep, equals}, {"--target", keep, onlyEnd},
	{"-target", keep, apart}, {"-arch", keep, apart}, {"-aux-info", keep, apart}, {"-wrapper", keep, apart},
	{"-dumpbase", keep, apart}, {"-dumpbase-ext", keep, apart}, {"-dumpdir", keep, apart},
	{"-Xpreprocessor", keep, apart}, {"-Xassembler", keep, apart}, {"-Xclang", keep, apart}, {"-Xanalyzer", keep, apart},
	{"-Xopenmp-target", keep, apart}, {"-Xarch_", keep, apart}, {"-Xcuda-fatbinary", keep, apart}, {"-Xcuda-ptxas", keep, apart},
	{"-mllvm", keep, apart}, {"-mthread-model", keep, apart}, {"-working-directory", keep, equals}, {"-index-store-path", keep, apart},
	{"-serialize-diagnostics", keep, apart}, {"--serialize-diagnostics", keep, apart}, {"-fmodules-user-build-path", keep, apart},
}

// nvccOptions is the same list for nvcc.
var nvccOptions = []option{
	{"-c", noLink, alone}, {"--compile", noLink, alone}, {"-dc", noLink, alone}, {"--device-c", noLink, alone},
	{"-dw", noLink, alone}, {"--device-w", noLink, alone}, {"-ptx", noLink, alone}, {"--ptx", noLink, alone},
	{"-cubin", noLink, alone}, {"--cubin", noLink, alone}, {"-fatbin", noLink, alone}, {"--fatbin", noLink, alone},
	{"-cuda", noLink, alone}, {"--cuda", noLink, alone}, {"-optix-ir", noLink, alone}, {"--optix-ir", noLink, alone},
	{"-E", noSource, alone}, {"--preprocess", noSource, alone}, {"-M", noSource, alone}, {"-MM", noSource, alone},
	{"--generate-dependencies", noSource, alone}, {"--generate-nonsystem-dependencies", noSource, alone},
	{"-dlink", noSource, alone}, {"--device-link", noSource, alone}, {"-lib", noSource, alone}, {"--lib", noSource, alone},
	{"-h", noSource, alone}, {"--help", noSource, alone}, {"-V", noSource, alone}, {"--version", noSource, alone},
	{"-dryrun", noSource, alone}, {"--dryrun", noSource, alone},
	{"-o", output, either}, {"--output-file", output, equals},
	{"-x", language, either}, {"--x", language, equals},
	{"-MD", forMake, alone}, {"-MMD", forMake, alone}, {"-MP", forMake, alone}, {"-MF", forMake, equals}, {"-MT", forMake, equals},
	{"-l", forLink, either}, {"--library", forLink, equals}, {"-L", forLink, either}, {"--library-path", forLink, equals},
	{"-Xlinker", forLink, equals}, {"--linker-options", forLink, equals}, {"-Xnvlink", forLink, equals}, {"--nvlink-options", forLink, equals},
	{"-shared", forLink, alone}, {"--shared", forLink, alone}, {"-cudart", forLink, equals}, {"--cudart", forLink, equals},
	{"-D", keep, either}, {"--define-macro", keep, equals}, {"-U", keep, either}, {"--undefine-macro", keep, equals},
	{"-I", keep, either}, {"--include-path", keep, equals}, {"-isystem", keep, equals}, {"--system-include", keep, equals},
	{"-include", keep, equals}, {"--pre-include", keep, equals}, {"-ccbin", keep, equals}, {"--compiler-bindir", keep, equals},
	{"-Xcompiler", keep, equals}, {"--compiler-options", keep, equals}, {"-Xptxas", keep, equals}, {"--ptxas-options", keep, equals},
	{"-Xcudafe", keep, equals}, {"-arch", keep, equals}, {"--gpu-architecture", keep, equals}, {"-code", keep, equals},
	{"--gpu-code", keep, equals}, {"-gencode", keep, equals}, {"--generate-code", keep, equals}, {"-rdc", keep, equals},
	{"--relocatable-device-code", keep, equals}, {"-std", keep, equals}, {"--std", keep, equals}, {"-m", keep, either}, {"--machine", keep, equals},
	{"-maxrregcount", keep, equals}, {"--maxrregcount", keep, equals}, {"-odir", keep, equals}, {"--output-directory", keep, equals},
	{"-t", keep, equals}, {"--threads", keep, equals}, {"-diag-suppress", keep, equals}, {"-Werror", keep, equals},
	{"-O", keep, either}, {"--optimize", keep, equals},
}

// find returns the option of a word, and the words that belong to it. The
// longest matching name counts.
func find(options []option, args []string) (use use, n int, value string) {
	word, best := args[0], -1
	for i, o := range options {
		if !strings.HasPrefix(word, o.name) || best >= 0 && len(options[best].name) > len(o.name) {
			continue
		}
		rest := word[len(o.name):]
		switch {
		case rest == "" && o.form != onlyEnd,
			o.form == either || o.form == glued,
			(o.form == equals || o.form == onlyEnd) && rest[0:min(1, len(rest))] == "=",
			o.form == apart && o.name == "-Xarch_":
			best = i
		}
	}
	if best < 0 {
		return keep, 1, ""
	}
	o := options[best]
	rest := word[len(o.name):]
	if o.form == alone || o.form == glued || o.form == onlyEnd || rest != "" && o.form != apart {
		return o.use, 1, strings.TrimPrefix(rest, "=")
	}
	if len(args) == 1 {
		return o.use, 1, "" // its value is missing, and the call will fail
	}
	return o.use, 2, args[1]
}

// parse reads the arguments of a compiler.
func parse(d dialect, args []string) *parsed {
	options := gccOptions
	if d == nvcc {
		options = nvccOptions
	}
	p := &parsed{links: true}
	forced := false // by -x: the sources that follow may have any name
	onlySources := false
	for len(args) > 0 {
		word := args[0]
		if !strings.HasPrefix(word, "-") || word == "-" || onlySources {
			switch {
			case strings.HasPrefix(word, "@") && !onlySources:
				p.kept = append(p.kept, argument{words: args[:1]})
			case isSource(word), forced && word != "-":
				p.sources = append(p.sources, len(p.kept))
				p.kept = append(p.kept, argument{words: args[:1], source: true})
			} // else an object or a library, for the linker
			args = args[1:]
			continue
		}
		if word == "--" {
			onlySources = true
			args = args[1:]
			continue
		}
		use, n, value := find(options, args)
		switch use {
		case forLink, forMake:
		case noSource:
			p.nothing = true
		case noLink:
			p.links = false
			p.kept = append(p.kept, argument{words: args[:n]})
		case output:
			p.output = value
			p.kept = append(p.kept, argument{words: args[:n]})
		case language:
			forced = value != "none" && value != "" && !strings.HasSuffix(value, "-header")
			p.kept = append(p.kept, argument{words: args[:n]})
		default:
			p.kept = append(p.kept, argument{words: args[:n]})
		}
		args = args[n:]
	}
	return p
}

// of returns the words of the entry of one source.
func (p *parsed) of(source int) []string {
	var words []string
	if p.links {
		words = append(words, "-c")
	}
	for i, a := range p.kept {
		if !a.source || i == source {
			words = append(words, a.words...)
		}
	}
	return words
}

// unexpanded returns a function like of, but with the words of the original
// call, which are in q: response files stay, also those that name the source.
func (p *parsed) unexpanded(q *parsed) func(source int) []string {
	q.links = p.links
	return func(source int) []string {
		name := p.kept[source].words[0]
		own := -1 // of no source
		for _, i := range q.sources {
			if q.kept[i].words[0] == name {
				own = i
			}
		}
		return q.of(own)
	}
}

// sourceEndings are those of files that compilers compile, headers among them.
var sourceEndings = strings.Fields(`
	.h .hh .H .hp .hxx .hpp .HPP .h++ .tcc
	.c .C .cc .CC .c++ .C++ .cxx .CXX .cpp .CPP .cp .cppm .ixx
	.cu .hip .cl
	.m .mi .mm .M .mii .i .ii
	.s .S .sx .asm
	.f .for .ftn .F .FOR .fpp .FPP .FTN .f77 .F77
	.f90 .f95 .f03 .f08 .F90 .F95 .F03 .F08
	.go .brig .d .di .dd .ads .adb`)

// isSource reports whether a file is one that is compiled, by its name.
func isSource(name string) bool { return slices.Contains(sourceEndings, filepath.Ext(name)) }
