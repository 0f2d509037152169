package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/clean"
	"github.com/taskwatch/taskwatch/module"
	"github.com/taskwatch/taskwatch/module/host"
	"github.com/taskwatch/taskwatch/source"
	"github.com/taskwatch/taskwatch/source/replay"
)

// moduleFlags are the flags of the commands that take modules.
type moduleFlags struct {
	specs       []string
	observeOnly bool
	bestEffort  bool
	globals     bool
	trust       trustFlags
}

// add adds the flags. when says when the variables are shown.
func (f *moduleFlags) add(cmd *cobra.Command, when string) {
	f.addSpecs(cmd)
	cmd.Flags().BoolVar(&f.globals, "globals", false, when+", show the global variables of the modules,\nwhere the summary goes")
}

// addSpecs adds the flag that names modules alone.
func (f *moduleFlags) addSpecs(cmd *cobra.Command) {
	cmd.Flags().StringArrayVarP(&f.specs, "module", "m", nil, "register the module `FILE[,key=value...]`, a .o for the kernel or\na .wasm for the sandbox, or a stock module by its name; may be\ngiven several times")
	if err := cmd.MarkFlagFilename("module", "o", "wasm"); err != nil {
		panic(err) // no such flag
	}
}

// addObserveOnly adds the flag of the commands whose sources may let modules
// deny something.
func (f *moduleFlags) addObserveOnly(cmd *cobra.Command) {
	f.trust.add(cmd)
	addBestEffort(cmd, &f.bestEffort)
	cmd.Flags().BoolVar(&f.observeOnly, "allow-observe-only", false, "load modules that ask for a veto even if\nnothing can be denied here")
}

// check says what is wrong with the flags.
func (f *moduleFlags) check() error {
	if f.globals && f.specs == nil {
		return errors.New("--globals: no module is given; add one with --module")
	}
	return nil
}

// parse reads the files of -m. What it returns has to be closed.
func (f *moduleFlags) parse() (files moduleFiles, err error) {
	keys, err := f.trust.read()
	if err != nil {
		return nil, err
	}
	for _, spec := range f.specs {
		file, args, _ := strings.Cut(spec, ",")
		m, err := parseTrusted(keys, file)
		if err != nil {
			return nil, errors.Join(err, files.close())
		}
		files = append(files, m)
		if args != "" {
			if m.params, err = module.ParseParams(strings.Split(args, ",")); err != nil {
				return nil, errors.Join(fmt.Errorf("--module %s: %w", spec, err), files.close())
			}
			if m.params, m.contents, err = host.SplitContents(m.bytes, m.params, os.ReadFile); err != nil {
				return nil, errors.Join(fmt.Errorf("--module %s: %w", spec, err), files.close())
			}
		}
	}
	return files, nil
}

// moduleFile is a module that was read, with the parameters it is to get.
type moduleFile struct {
	*host.File
	bytes    []byte
	params   map[string]string
	contents map[string][]byte // of maps
}

// parseModule reads one file. Its name is the module's.
func parseModule(file string) (*moduleFile, error) {
	return parseTrusted(nil, file)
}

func parseBytes(file string, b []byte) (*moduleFile, error) {
	done := sayIfSlow(file)
	f, err := host.Parse(module.NameOf(file), b, userParser())
	done()
	if err != nil {
		return nil, err
	}
	return &moduleFile{File: f, bytes: b}, nil
}

// readModule reads the bytes of one file, or of a stock module, if there is no
// file of that name.
func readModule(file string) ([]byte, error) {
	if m := stockModule(file); m != nil {
		if m.Object() == nil {
			src, _ := m.Source()
			return nil, fmt.Errorf("module %q is in Go, and has to be built: 'taskwatch module new --from %s' writes %s, which 'taskwatch module build' builds", file, file, src)
		}
		return m.Object(), nil
	}
	f, err := os.Open(file)
	var b []byte
	if err == nil {
		defer f.Close()
		b, err = host.Read(file, f)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if module.CheckName(file) == nil {
			return nil, fmt.Errorf("module %q: %w, and no stock module has that name; 'taskwatch module list' shows those", file, cause(err))
		}
		return nil, fmt.Errorf("module %q: %w; 'taskwatch module build' makes one", file, cause(err))
	case errors.As(err, new(*fs.PathError)):
		return nil, fmt.Errorf("module %q: %w; give a file that can be read", file, cause(err))
	case err != nil:
		return nil, fmt.Errorf("module %q: %w", file, err)
	}
	return b, nil
}

type moduleFiles []*moduleFile

// kernel reports whether there is a module that runs in the kernel.
func (files moduleFiles) kernel() bool {
	return slices.ContainsFunc(files, func(m *moduleFile) bool { return m.Kind() == host.Kernel })
}

// noVeto returns a function that says why a source that only observes is none for
// them, or nil if it is.
func (files moduleFiles) noVeto() func(source string) error {
	i := slices.IndexFunc(files, func(m *moduleFile) bool { return m.Kind() != host.Kernel && m.Veto() != 0 })
	if i < 0 {
		return nil
	}
	m := files[i]
	return func(source string) error {
		return fmt.Errorf("%s: %w; the source ptrace can deny it", source, host.NoVeto(m.File, m.Veto(), source))
	}
}

// close frees what was read. What was loaded from it stays.
func (files moduleFiles) close() error {
	var errs []error
	for _, m := range files {
		errs = append(errs, m.Close())
	}
	return errors.Join(errs...)
}

// modules are those of one run: in the order in which they were given.
type modules struct{ list []host.Module }

// start loads the modules and starts them. If that fails, it closes the source.
func (files moduleFiles) start(src source.Source, reg *taskwatch.Registry, f *moduleFlags) (*modules, error) {
	_, recorded := src.(*replay.Source)
	h := &host.Host{Source: src, Registry: reg, Recorded: recorded, Log: func(module string, level slog.Level, text string) {
		if level >= slog.LevelInfo {
			say("module %s: %s", module, text)
		}
	}}
	mods := &modules{}
	for _, file := range files {
		m, err := h.Load(file.File, host.Options{Params: file.params, Contents: file.contents, AllowObserveOnly: f.observeOnly, AllowBestEffort: f.bestEffort})
		if err == nil {
			mods.list = append(mods.list, m)
			err = m.Start()
		}
		if err != nil {
			return nil, errors.Join(err, src.Close(), mods.close())
		}
	}
	return mods, nil
}

// addBestEffort adds the flag of all commands that load kernel modules.
func addBestEffort(cmd *cobra.Command, f *bool) {
	cmd.Flags().BoolVar(f, "allow-best-effort", false, "load modules that ask for a veto even if\nthe kernel may skip a denial")
}

// drain returns when the modules in the sandbox have seen everything that has
// happened, or had the time to. None is called any more. Those in the kernel
// have ended with the source.
func (mods *modules) drain() error {
	var errs []error
	for _, m := range mods.list {
		if m.Info().Kind != host.Kernel {
			errs = append(errs, m.Stop())
		}
	}
	return errors.Join(errs...)
}

// show writes the global variables of the modules that are no parameters.
func (mods *modules) show(w io.Writer) error {
	for _, m := range mods.list {
		globals, err := m.Globals(context.Background())
		if errors.Is(err, module.ErrTooLarge) {
			if _, err := fmt.Fprintf(w, "%s: its variables cannot be shown: %v\n", m.Info().Name, err); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		globals = slices.DeleteFunc(globals, func(g module.Global) bool { return g.Param })
		if len(globals) == 0 {
			_, err = fmt.Fprintf(w, "%s: no global variables\n", m.Info().Name)
		}
		for _, g := range globals {
			if err == nil {
				_, err = fmt.Fprintf(w, "%s: %s = %s\n", m.Info().Name, clean.Text(g.Name), clean.Text(value(g.Value)))
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// value returns a global's value in words: a struct as JSON, as elsewhere.
func value(v any) string {
	if s, ok := v.(string); ok {
		return fmt.Sprintf("%q", s)
	}
	return module.Compact(v)
}

// close ends the modules.
func (mods *modules) close() error {
	var errs []error
	for _, m := range mods.list {
		errs = append(errs, m.Close())
	}
	mods.list = nil
	return errors.Join(errs...)
}
