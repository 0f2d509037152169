package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/taskwatch/taskwatch/internal/clean"
	"github.com/taskwatch/taskwatch/module"
	"github.com/taskwatch/taskwatch/module/build"
	"github.com/taskwatch/taskwatch/module/host"
	"github.com/taskwatch/taskwatch/module/kernel"
	"github.com/taskwatch/taskwatch/source/auto"
	"github.com/taskwatch/taskwatch/source/bpf"
)

func newModule() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "module",
		Short: "Make and inspect modules",
		Long: `module makes and inspects modules. There are two kinds. A BPF object (.o) is
built from C, and its watchers run inside the kernel in the context of the task.
'taskwatch watch -m FILE.o' runs it and needs root. A WebAssembly module (.wasm)
is built from C or Go and runs in a sandbox inside taskwatch.
'taskwatch run -m FILE.wasm' runs it and needs no privileges.`,
		Example: `  taskwatch module list
  taskwatch module new count.c
  taskwatch module build count.c -o count.wasm
  taskwatch module info count.wasm
  taskwatch run -m count.wasm --globals -- make
  taskwatch module build count.c
  sudo taskwatch module check count.o
  sudo taskwatch watch -m count.o -e exec`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return usage(errors.New("no command given: taskwatch module list, new, build, headers, check, test, info, sign, verify, push or pull"))
		},
	}
	cmd.AddCommand(newModuleList(), newModuleNew(), newModuleBuild(), newModuleHeaders(), newModuleCheck(), newModuleTest(), newModuleInfo("info"), newModuleSign(), newModuleVerify(), newModulePush(), newModulePull())
	return cmd
}

func moduleFailed(err error) error { return &exitError{status: exitFailed, err: err} }

// oneFile requires one argument.
func oneFile(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usage(fmt.Errorf("%s given: %s %s", plural(len(args), "file", "files"), cmd.CommandPath(), what))
		}
		return nil
	}
}

func newModuleNew() *cobra.Command {
	var from string
	cmd := &cobra.Command{
		Use:   "new NAME.c|NAME.go|DIR",
		Short: "Write the source of a small module to begin with",
		Long: `new writes the source of a small module that counts execs. It writes the file
NAME.c or NAME.go, or makes the directory DIR and writes DIR/DIR.c. With --from
it writes the source of a stock module instead, by default to a file of its
name. It overwrites nothing.`,
		Example: "  taskwatch module new count.c\n  taskwatch module new rule.go\n  taskwatch module new --from forkguard myguard.c",
		Args: func(cmd *cobra.Command, args []string) error {
			if from != "" && len(args) == 0 {
				return nil
			}
			return oneFile("NAME.c|NAME.go|DIR")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				if err := module.CheckName(module.NameOf(args[0])); err != nil {
					return moduleFailed(fmt.Errorf("module new %q: %w", args[0], err))
				}
			}
			if from != "" {
				return copyStock(cmd.OutOrStdout(), from, args)
			}
			file := args[0]
			switch ext := filepath.Ext(file); ext {
			case ".c", ".go":
			case "":
				if err := os.Mkdir(file, 0o777); err != nil {
					return moduleFailed(fmt.Errorf("module new %q: %w; name a directory that can be made", file, cause(err)))
				}
				abs, err := filepath.Abs(file)
				if err != nil {
					return moduleFailed(err)
				}
				file = filepath.Join(file, filepath.Base(abs)+".c")
			default:
				return moduleFailed(fmt.Errorf("module new %q: modules are written in C or Go, and not in %s; name a file NAME.c or NAME.go, or a directory", file, ext))
			}
			if err := build.New(file); err != nil {
				return moduleFailed(err)
			}
			return sayBuild(cmd.OutOrStdout(), file)
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "copy the source of the stock module of this `name`")
	complete(cmd, "from", cobra.FixedCompletions(completeStock(""), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func sayBuild(w io.Writer, file string) error {
	_, err := fmt.Fprintf(w, "%s: build it with 'taskwatch module build %s'\n", file, file)
	return err
}

func newModuleBuild() *cobra.Command {
	var out string
	var defines []string
	cmd := &cobra.Command{
		Use:   "build FILE.c|FILE.go [-o FILE.o|FILE.wasm]",
		Short: "Build a module",
		Long: `build compiles a module. The name of the output chooses where it will run:
NAME.o in the kernel, from C; NAME.wasm in the sandbox, from C or Go. C needs
clang in PATH, and for the sandbox its linker (Debian, Ubuntu: apt install clang
lld); Go needs the go command. Nothing else is needed: the headers, and the
package for modules in Go, are part of taskwatch.`,
		ValidArgsFunction: completeSources,
		Example: `  taskwatch module build count.c
  taskwatch module build count.c -o /tmp/count.o
  taskwatch module build count.c -o count.wasm
  taskwatch module build -D DEBUG -D LEVELS=3 count.c
  taskwatch module build rule.go`,
		Args: oneFile("FILE.c|FILE.go [-o FILE.o|FILE.wasm]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			src := args[0]
			ext := filepath.Ext(src)
			to, ok := map[string]string{".c": ".o", ".go": ".wasm"}[ext]
			if !ok {
				return usage(fmt.Errorf("%q: the source of a module is a file NAME.c or NAME.go", src))
			}
			if out == "" {
				out = strings.TrimSuffix(src, ext) + to
			}
			ctx, cancel := untilSignal()
			defer cancel()
			what := "building " + clean.Text(filepath.Base(src))
			if ext == ".go" {
				what += ", which takes a minute the first time"
			}
			progress := showWaiting(true, what)
			warnings, err := build.Build(ctx, src, out, defines...)
			progress.end()
			fmt.Fprint(cmd.ErrOrStderr(), warnings)
			if err != nil {
				return moduleFailed(err)
			}
			// It may still be none that can be loaded: no licence, say.
			m, err := parseModule(out)
			if err != nil {
				return moduleFailed(fmt.Errorf("%s was built, but cannot be loaded: %w", out, err))
			}
			return m.Close()
		},
	}
	cmd.Flags().StringVarP(&out, "output", "o", "", "the `file` to write (default FILE.o for C, FILE.wasm for Go)")
	cmd.Flags().StringArrayVarP(&defines, "define", "D", nil, "define the macro `NAME[=VALUE]` for a source in C; may be given several times")
	return cmd
}

// completeSources completes the source of a module.
func completeSources(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return []string{"c", "go"}, cobra.ShellCompDirectiveFilterFileExt
}

func newModuleCheck() *cobra.Command {
	var observeOnly, bestEffort bool
	cmd := &cobra.Command{
		Use:               "check FILE[,key=value...]",
		Short:             "Check that a module would be accepted, without calling its watchers",
		ValidArgsFunction: completeModuleFile,
		Long: `For a module for the kernel, check links the module as if it were being
registered, beside the programs of taskwatch that gather the events, and has the
kernel's verifier check that, but attaches nothing. This needs the same
privileges as 'watch -m'. A module for the sandbox is compiled and initialised
with the parameters. The exit status is 0 if the module would be accepted.

Modules that are loaded already may leave it less room: insmod says so.`,
		Example: "  sudo taskwatch module check count.o\n  taskwatch module check rule.wasm,level=2",
		Args:    oneFile("FILE[,key=value...]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkModule(cmd.OutOrStdout(), args[0], observeOnly, bestEffort); err != nil {
				return moduleFailed(err)
			}
			return nil
		},
	}
	addBestEffort(cmd, &bestEffort)
	cmd.Flags().BoolVar(&observeOnly, "allow-observe-only", false, "accept that nothing can be denied here")
	return cmd
}

func checkModule(w io.Writer, spec string, observeOnly, bestEffort bool) (err error) {
	f := moduleFlags{specs: []string{spec}}
	files, err := f.parse()
	if err != nil {
		return err
	}
	file := files[0]
	defer func() { err = errors.Join(err, file.Close()) }()
	var table *kernel.Table
	if file.Kind() == host.Kernel {
		var free func() error
		if table, free, err = openTable(); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, free()) }()
	}
	limits, err := host.Check(file.File, table, host.Options{Params: file.params, Contents: file.contents, AllowObserveOnly: observeOnly, AllowBestEffort: bestEffort})
	switch {
	case err != nil:
		return err
	case file.Kind() == host.Sandbox:
		_, err = fmt.Fprintf(w, "%s: the sandbox accepts it\n", file.Name())
	case limits.Powerless != nil:
		_, err = fmt.Fprintf(w, "%s: this kernel accepts it, but does not let it deny: %s\n", file.Name(), strings.Join(limits.Powerless, ", "))
	case limits.Skippable != nil:
		_, err = fmt.Fprintf(w, "%s: this kernel accepts it, but may skip its denials of: %s\n", file.Name(), strings.Join(limits.Skippable, ", "))
	default:
		_, err = fmt.Fprintf(w, "%s: this kernel accepts it\n", file.Name())
	}
	return err
}

// openTable opens the table that watch -m would register modules with.
func openTable() (*kernel.Table, func() error, error) {
	if err := auto.NeedBPF(); err != nil {
		return nil, nil, err
	}
	return bpf.NewTable()
}

// newModuleInfo returns the command that has two names: see newModinfo.
func newModuleInfo(name string) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:               name + " FILE",
		Short:             "Show what a module is: licence, events, parameters, maps",
		ValidArgsFunction: completeModuleFile,
		Long: `info shows what a module file says about itself. It loads nothing into the
kernel and needs no privileges. To ask a module for the sandbox, it initialises
it there. 'taskwatch modinfo' does the same, and also knows loaded modules.`,
		Example: "  taskwatch module info count.o\n  taskwatch modinfo -f json rule.wasm",
		Args:    oneFile("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkFormat(format); err != nil {
				return &exitError{status: exitUsage, err: err}
			}
			m, err := parseModule(args[0])
			if err != nil {
				return moduleFailed(err)
			}
			info := m.describe()
			if err := m.Close(); err != nil {
				return moduleFailed(err)
			}
			return show(cmd, format, info)
		},
	}
	addFormat(cmd, &format)
	return cmd
}

// show writes what a command has found, as text or as JSON.
func show(cmd *cobra.Command, format string, v interface{ write(io.Writer) error }) error {
	var err error
	if format == formatJSON {
		err = writeJSON(cmd.OutOrStdout(), v)
	} else {
		err = v.write(cmd.OutOrStdout())
	}
	if err != nil {
		return moduleFailed(err)
	}
	return nil
}

func addFormat(cmd *cobra.Command, format *string) {
	cmd.Flags().StringVarP(format, "format", "f", formatText, "`how` to show it: text or json")
	complete(cmd, "format", cobra.FixedCompletions([]string{formatText, formatJSON}, cobra.ShellCompDirectiveNoFileComp))
}

// checkFormat returns the error of a format that does not exist.
func checkFormat(format string) error {
	if format != formatText && format != formatJSON {
		return fmt.Errorf("--format %q: unknown format; choose %s or %s", format, formatText, formatJSON)
	}
	return nil
}

func writeJSON(w io.Writer, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	_, err = w.Write(append(clean.JSON(b), '\n'))
	return err
}

// moduleDescription is what info shows.
type moduleDescription struct{ host.Info }

// describe returns what info shows of a module.
func (m *moduleFile) describe() *moduleDescription { return &moduleDescription{m.Info()} }

// factLines returns a function that writes a fact on a line.
func factLines(b *strings.Builder) func(key, format string, args ...any) {
	return func(key, format string, args ...any) {
		fmt.Fprintf(b, "%-14s "+format+"\n", append([]any{key + ":"}, clean.Args(args)...)...)
	}
}

// write writes the description a fact a line, like modinfo(8).
func (d *moduleDescription) write(w io.Writer) error {
	var b strings.Builder
	line := factLines(&b)
	line("name", "%s", d.Name)
	line("kind", "%s", d.Kind)
	for _, f := range [][2]string{{"description", d.Description}, {"author", d.Author}, {"version", d.Version}} {
		if f[1] != "" {
			line(f[0], "%s", f[1])
		}
	}
	if d.License != "" {
		line("license", "%s", d.License)
	}
	for rest := d.Watchers; len(rest) > 0; { // in the order of the events, and then attach and the like
		of := rest[0].Event
		n := slices.IndexFunc(rest, func(w host.Watcher) bool { return w.Event != of })
		if n < 0 {
			n = len(rest)
		}
		var fns []string
		for _, w := range rest[:n] {
			fns = append(fns, w.Function)
		}
		line("watchers", "%s: %s", of, strings.Join(fns, ", "))
		rest = rest[n:]
	}
	if len(d.Veto) > 0 {
		line("veto", "%s", strings.Join(d.Veto, ", "))
	}
	if len(d.Reads) > 0 {
		line("reads", "%s", strings.Join(d.Reads, ", "))
	}
	if len(d.Unread) > 0 {
		line("unread", "%s", strings.Join(d.Unread, ", "))
	}
	if len(d.Powers) > 0 {
		line("powers", "%s", strings.Join(d.Powers, ", "))
	}
	for _, p := range d.Params {
		text := fmt.Sprintf("%s (%s, default %s)", p.Name, p.Type, value(p.Default))
		if p.Description != "" {
			text += ": " + p.Description
		}
		line("param", "%s", text)
	}
	mapLines(line, d.Maps)
	if d.Memory > 0 {
		line("memory", "%d KiB to begin with", d.Memory>>10)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
