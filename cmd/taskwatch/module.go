package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/module/kernel"
	"github.com/taskwatch/taskwatch/module/build"
)

func newModule() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "module",
		Short: "Make and inspect modules that run in the kernel",
		Long: `module makes and inspects modules, whose watchers run inside the kernel in the
context of the task. A module is a C file, built with clang into a BPF object,
which every kernel with BTF takes; 'taskwatch watch -m FILE.o' runs it.`,
		Example: `  taskwatch module new count.c
  taskwatch module build count.c
  taskwatch module info count.o
  sudo taskwatch module check count.o
  sudo taskwatch watch -m count.o -e exec`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return usage(errors.New("which of them: taskwatch module new, build, check or info"))
		},
	}
	cmd.AddCommand(newModuleNew(), newModuleBuild(), newModuleCheck(), newModuleInfo("info"))
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
	return &cobra.Command{
		Use:   "new NAME.c|DIR",
		Short: "Write the source of a small module to begin with",
		Long: `new writes the source of a small module, which counts execs, to the file NAME.c,
or to the file DIR/DIR.c in the directory DIR, which is made. It overwrites
nothing.`,
		Example: "  taskwatch module new count.c",
		Args:    oneFile("NAME.c|DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			file := args[0]
			if filepath.Ext(file) != ".c" {
				if err := os.MkdirAll(file, 0o777); err != nil {
					return moduleFailed(fmt.Errorf("module new %q: %w; name a directory that can be made", file, cause(err)))
				}
				abs, err := filepath.Abs(file)
				if err != nil {
					return moduleFailed(err)
				}
				file = filepath.Join(file, filepath.Base(abs)+".c")
			}
			if err := build.New(file); err != nil {
				return moduleFailed(err)
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s: build it with 'taskwatch module build %s'\n", file, file)
			return err
		},
	}
}

func newModuleBuild() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "build FILE.c [-o FILE.o]",
		Short: "Build a module",
		Long: `build compiles a module with clang, which it finds in PATH. Nothing else is
needed: the headers are part of taskwatch.`,
		Example: `  taskwatch module build count.c
  taskwatch module build count.c -o /tmp/count.o`,
		Args: oneFile("FILE.c [-o FILE.o]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if out == "" {
				out = strings.TrimSuffix(args[0], ".c") + ".o"
			}
			if !strings.HasSuffix(args[0], ".c") {
				return usage(fmt.Errorf("%q: the source of a module is a file NAME.c", args[0]))
			}
			ctx, cancel := untilSignal()
			defer cancel()
			warnings, err := build.Build(ctx, args[0], out)
			fmt.Fprint(cmd.ErrOrStderr(), warnings)
			if err != nil {
				return moduleFailed(err)
			}
			// The object may still be none that can be loaded: no licence, say.
			if _, err := parseModule(out); err != nil {
				return moduleFailed(fmt.Errorf("%s was built, and cannot be loaded: %w", out, err))
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&out, "output", "o", "", "the `file` to write (default FILE.o)")
	return cmd
}

func newModuleCheck() *cobra.Command {
	var observeOnly bool
	cmd := &cobra.Command{
		Use:   "check FILE.o[,key=value...]",
		Short: "Have this kernel verify a module, and run nothing of it",
		Long: `check has the kernel's verifier judge a module as it would be linked when it is
registered, and attaches nothing. It needs the privileges of 'watch -m'. The
exit status is 0 if 'watch -m' would take the module.`,
		Example: "  sudo taskwatch module check count.o",
		Args:    oneFile("FILE.o[,key=value...]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkModule(cmd.OutOrStdout(), args[0], observeOnly); err != nil {
				return moduleFailed(err)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&observeOnly, "allow-observe-only", false, "accept that it cannot refuse what it wants to")
	return cmd
}

func checkModule(w io.Writer, spec string, observeOnly bool) (err error) {
	f := moduleFlags{specs: []string{spec}}
	modules, err := f.load()
	defer func() { err = errors.Join(err, modules.close()) }()
	if err != nil {
		return err
	}
	support, err := kernel.Probe()
	if err != nil {
		return err
	}
	table, err := kernel.NewTable(kernel.Config{Support: support})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, table.Close()) }()
	m := modules[0]
	if err := table.Check(m); err != nil {
		return err
	}
	var powerless []string
	for _, k := range m.Object().Veto.List() {
		if e := support.Events()[k]; e.Veto == "" {
			powerless = append(powerless, fmt.Sprintf("%s (%s)", k, e.Why))
		}
	}
	switch {
	case powerless == nil:
		_, err = fmt.Fprintf(w, "%s: this kernel takes it\n", m.Name())
	case observeOnly:
		_, err = fmt.Fprintf(w, "%s: this kernel takes it, and lets it refuse nothing of: %s\n", m.Name(), strings.Join(powerless, ", "))
	default:
		err = fmt.Errorf("module %q: %w: it verifies, and wants to refuse %s; --allow-observe-only runs it all the same, and refuses nothing",
			m.Name(), kernel.ErrNoVeto, strings.Join(powerless, ", "))
	}
	return err
}

func newModinfo() *cobra.Command { return newModuleInfo("modinfo") }

// newModuleInfo returns the command that has two names.
func newModuleInfo(name string) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   name + " FILE.o",
		Short: "Show what a module is: licence, events, parameters, maps",
		Long: `info shows what a module file says of itself. It loads nothing and needs no
privileges. 'taskwatch modinfo' is the same.`,
		Example: "  taskwatch module info count.o\n  taskwatch modinfo -f json count.o",
		Args:    oneFile("FILE.o"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkFormat(format); err != nil {
				return &exitError{status: exitUsage, err: err}
			}
			o, err := parseModule(args[0])
			if err != nil {
				return moduleFailed(err)
			}
			info := describeModule(o)
			if format == formatJSON {
				err = writeJSON(cmd.OutOrStdout(), info)
			} else {
				err = info.write(cmd.OutOrStdout())
			}
			if err != nil {
				return moduleFailed(err)
			}
			return nil
		},
	}
	addFormat(cmd, &format)
	return cmd
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
	_, err = w.Write(append(b, '\n'))
	return err
}

// moduleDescription is what info shows.
type moduleDescription struct {
	Name        string              `json:"name"`
	Description string              `json:"description,omitempty"`
	Author      string              `json:"author,omitempty"`
	Version     string              `json:"version,omitempty"`
	License     string              `json:"license"`
	Watchers    map[string][]string `json:"watchers"`
	Veto        []string            `json:"veto"`
	Params      []moduleParam       `json:"params"`
	Maps        []moduleMap         `json:"maps"`
}

type moduleParam struct {
	Name        string `json:"name"`
	Type        string `json:"type"`
	Default     any    `json:"default"`
	Description string `json:"description,omitempty"`
}

type moduleMap struct {
	Name       string `json:"name"`
	Type       string `json:"type"`
	KeySize    uint32 `json:"key_size"`
	ValueSize  uint32 `json:"value_size"`
	MaxEntries uint32 `json:"max_entries"`
}

func describeModule(o *kernel.Object) *moduleDescription {
	d := &moduleDescription{
		Name: o.Name, Description: o.Description, Author: o.Author, Version: o.Version, License: o.License,
		Watchers: map[string][]string{}, Veto: []string{}, Params: []moduleParam{}, Maps: []moduleMap{},
	}
	for _, k := range o.Kinds().List() {
		d.Watchers[k.String()] = o.Watchers[k]
	}
	for _, k := range o.Veto.List() {
		d.Veto = append(d.Veto, k.String())
	}
	for _, p := range o.Params() {
		d.Params = append(d.Params, moduleParam(p))
	}
	for _, m := range o.Maps() {
		d.Maps = append(d.Maps, moduleMap(m))
	}
	return d
}

// write writes the description a fact a line, like modinfo(8).
func (d *moduleDescription) write(w io.Writer) error {
	var b strings.Builder
	line := func(key, format string, args ...any) {
		fmt.Fprintf(&b, "%-14s "+format+"\n", append([]any{key + ":"}, args...)...)
	}
	line("name", "%s", d.Name)
	for _, f := range [][2]string{{"description", d.Description}, {"author", d.Author}, {"version", d.Version}} {
		if f[1] != "" {
			line(f[0], "%s", f[1])
		}
	}
	line("license", "%s", d.License)
	for _, k := range taskwatch.AllKinds.List() {
		if fns := d.Watchers[k.String()]; fns != nil {
			line("watchers", "%s: %s", k, strings.Join(fns, ", "))
		}
	}
	if len(d.Veto) > 0 {
		line("veto", "%s", strings.Join(d.Veto, ", "))
	}
	for _, p := range d.Params {
		text := fmt.Sprintf("%s (%s, default %s)", p.Name, p.Type, value(p.Default))
		if p.Description != "" {
			text += ": " + p.Description
		}
		line("param", "%s", text)
	}
	for _, m := range d.Maps {
		line("map", "%s (%s, %s)", m.Name, m.Type, plural(int(m.MaxEntries), "entry", "entries"))
	}
	_, err := io.WriteString(w, b.String())
	return err
}
