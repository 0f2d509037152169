package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/daemon"
	"github.com/taskwatch/taskwatch/internal/clean"
	"github.com/taskwatch/taskwatch/module"
	"github.com/taskwatch/taskwatch/module/kernel"
	"github.com/taskwatch/taskwatch/module/wasm"
	"github.com/taskwatch/taskwatch/source"
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
	flags := cmd.Flags()
	flags.StringArrayVarP(&f.specs, "module", "m", nil, "register the module `FILE[,key=value...]`, a .o for the kernel or\na .wasm for the sandbox; may be given several times")
	flags.BoolVar(&f.globals, "globals", false, when+", show the global variables of the modules,\nwhere the summary goes")
	if err := cmd.MarkFlagFilename("module", "o", "wasm"); err != nil {
		panic(err) // no such flag
	}
}

// addObserveOnly adds the flag of the commands whose sources may let modules
// refuse something.
func (f *moduleFlags) addObserveOnly(cmd *cobra.Command) {
	f.trust.add(cmd)
	addBestEffort(cmd, &f.bestEffort)
	cmd.Flags().BoolVar(&f.observeOnly, "allow-observe-only", false, "take modules that want to refuse something also where\nnobody can refuse it")
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
		}
	}
	return files, nil
}

// moduleFile is a module that was read, of one of the two kinds.
type moduleFile struct {
	kernel *kernel.Object
	wasm   *wasm.Object
	params map[string]string
}

// parseModule reads one file. Its name is the module's, its content tells the
// kind.
func parseModule(file string) (*moduleFile, error) {
	return parseTrusted(nil, file)
}

func parseBytes(file string, b []byte) (m *moduleFile, err error) {
	m = &moduleFile{}
	switch {
	case wasm.IsModule(b):
		m.wasm, err = userParser().Parse(module.NameOf(file), b)
	case filepath.Ext(file) == ".wasm":
		_, err = userParser().Parse(module.NameOf(file), b) // says what is wrong with it
	default:
		m.kernel, err = kernel.Parse(module.NameOf(file), b)
	}
	if err != nil {
		return nil, err
	}
	return m, nil
}

// readModule reads the bytes of one file, and knows sources by their names.
func readModule(file string) ([]byte, error) {
	b, err := daemon.ReadModule(file)
	switch ext := filepath.Ext(file); {
	case err == nil && (ext == ".c" || ext == ".go"):
		return nil, fmt.Errorf("module %q: it is a source; build it with 'taskwatch module build %s'", file, file)
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("module %q: %w; 'taskwatch module build' makes one", file, cause(err))
	case err != nil:
		return nil, fmt.Errorf("module %q: %w; give a file that can be read", file, cause(err))
	}
	return b, nil
}

func (m *moduleFile) close() error {
	if m.wasm != nil {
		return m.wasm.Close()
	}
	return nil
}

type moduleFiles []*moduleFile

// kernel reports whether there is a module that runs in the kernel.
func (files moduleFiles) kernel() bool {
	return slices.ContainsFunc(files, func(m *moduleFile) bool { return m.kernel != nil })
}

// veto reports whether there is a module outside of the kernel that wants to
// refuse something.
func (files moduleFiles) veto() bool {
	return slices.ContainsFunc(files, func(m *moduleFile) bool { return m.wasm != nil && m.wasm.Veto != 0 })
}

// close frees what was read. What was loaded from it stays.
func (files moduleFiles) close() error {
	var errs []error
	for _, m := range files {
		errs = append(errs, m.close())
	}
	return errors.Join(errs...)
}

// runningModule is a module that was loaded.
type runningModule interface {
	Name() string
	Globals() ([]module.Global, error)
	Close() error
}

// modules are those of one run: in the order in which they were given.
type modules struct {
	list []runningModule
	reg  *taskwatch.Registry
	user []*taskwatch.Module // what is registered with reg
}

// start loads the modules and registers them: those for the kernel with the
// source, the others with reg. If that fails, it closes the source.
func (files moduleFiles) start(src source.Source, reg *taskwatch.Registry, f *moduleFlags) (*modules, error) {
	mods := &modules{reg: reg}
	for _, file := range files {
		if err := mods.add(file, src, f); err != nil {
			return nil, errors.Join(err, closeSource(src), mods.close())
		}
	}
	return mods, nil
}

func (mods *modules) add(file *moduleFile, src source.Source, f *moduleFlags) error {
	if file.wasm != nil {
		return mods.addSandboxed(file, src, f)
	}
	m, err := file.kernel.Load(kernel.LoadOptions{Params: file.params})
	if err != nil {
		return err
	}
	mods.list = append(mods.list, m)
	table := src.(interface{ Table() *kernel.Table }).Table() // no other source was opened
	err = table.Register(m, kernel.RegisterOptions{AllowObserveOnly: f.observeOnly, AllowBestEffort: f.bestEffort})
	if errors.Is(err, kernel.ErrNoVeto) {
		return fmt.Errorf("%w; --allow-observe-only runs it all the same, and refuses nothing", err)
	}
	if errors.Is(err, kernel.ErrSkippable) {
		return fmt.Errorf("%w; --allow-best-effort runs it all the same, and counts what is skipped", err)
	}
	return err
}

// addBestEffort adds the flag of all commands that load kernel modules.
func addBestEffort(cmd *cobra.Command, f *bool) {
	cmd.Flags().BoolVar(f, "allow-best-effort", false, "take modules that want to refuse something also where\nthe kernel may skip a refusal")
}

// drain returns when the modules in the sandbox have seen everything that has
// happened, or had the time to. None is called any more.
func (mods *modules) drain() error {
	var errs []error
	for _, m := range mods.user {
		errs = append(errs, mods.reg.Unregister(m))
	}
	mods.user = nil
	return errors.Join(errs...)
}

// show writes the global variables of the modules that are no parameters.
func (mods *modules) show(w io.Writer) error {
	for _, m := range mods.list {
		globals, err := m.Globals()
		if err != nil {
			return err
		}
		globals = slices.DeleteFunc(globals, func(g module.Global) bool { return g.Param })
		if len(globals) == 0 {
			_, err = fmt.Fprintf(w, "%s: no global variables\n", m.Name())
		}
		for _, g := range globals {
			if err == nil {
				_, err = fmt.Fprintf(w, "%s: %s = %s\n", m.Name(), clean.Text(g.Name), clean.Text(value(g.Value)))
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// value returns a global's value in words.
func value(v any) string {
	if s, ok := v.(string); ok {
		return fmt.Sprintf("%q", s)
	}
	return fmt.Sprint(v)
}

// close ends the modules.
func (mods *modules) close() error {
	errs := []error{mods.drain()}
	for _, m := range mods.list {
		errs = append(errs, m.Close())
	}
	mods.list = nil
	return errors.Join(errs...)
}
