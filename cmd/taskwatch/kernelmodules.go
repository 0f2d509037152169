package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/taskwatch/taskwatch/module"
	"github.com/taskwatch/taskwatch/module/kernel"
	"github.com/taskwatch/taskwatch/source"
)

// moduleFlags are the flags of the commands that take modules.
type moduleFlags struct {
	specs       []string
	observeOnly bool
	globals     bool
}

// add adds the flags. when says when the variables are shown.
func (f *moduleFlags) add(cmd *cobra.Command, when string) {
	flags := cmd.Flags()
	flags.StringArrayVarP(&f.specs, "module", "m", nil, "register the kernel module `FILE[,key=value...]`; may be given several times")
	flags.BoolVar(&f.observeOnly, "allow-observe-only", false, "take modules that want to refuse something also where\nthe kernel lets nobody refuse it")
	flags.BoolVar(&f.globals, "globals", false, when+", show the global variables of the modules,\nwhere the summary goes")
	if err := cmd.MarkFlagFilename("module", "o"); err != nil {
		panic(err) // no such flag
	}
}

// kernelModules are modules that are loaded into the kernel.
type kernelModules []*kernel.Module

// load loads the modules of -m and registers none. It may return an error and
// modules that have to be closed.
func (f *moduleFlags) load() (list kernelModules, err error) {
	objects, params, err := f.parse()
	if err != nil {
		return nil, err
	}
	for i, o := range objects {
		m, err := o.Load(kernel.LoadOptions{Params: params[i]})
		if err != nil {
			return list, err
		}
		list = append(list, m)
	}
	return list, nil
}

// parse reads the files of -m.
func (f *moduleFlags) parse() (objects []*kernel.Object, params []map[string]string, err error) {
	for _, spec := range f.specs {
		file, args, _ := strings.Cut(spec, ",")
		o, err := parseModule(file)
		if err != nil {
			return nil, nil, err
		}
		var values map[string]string
		if args != "" {
			if values, err = module.ParseParams(strings.Split(args, ",")); err != nil {
				return nil, nil, fmt.Errorf("--module %s: %w", spec, err)
			}
		}
		objects, params = append(objects, o), append(params, values)
	}
	return objects, params, nil
}

// parseModule reads one file. Its name is the module's.
func parseModule(file string) (*kernel.Object, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("module %q: %w; 'taskwatch module build' makes one", file, cause(err))
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, kernel.MaxObjectSize+1))
	if err != nil {
		return nil, fmt.Errorf("module %q: %w; give a file that can be read", file, cause(err))
	}
	if strings.HasPrefix(string(b), "\x00asm") {
		return nil, fmt.Errorf("module %q: it is a WebAssembly module, and this command takes modules that run in the kernel; build it with 'taskwatch module build'", file)
	}
	if strings.HasSuffix(file, ".c") {
		return nil, fmt.Errorf("module %q: it is a source; build it with 'taskwatch module build %s'", file, file)
	}
	return kernel.Parse(moduleName(file), b)
}

func moduleName(file string) string {
	return strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
}

// check says what is wrong with the flags.
func (f *moduleFlags) check() error {
	if f.globals && f.specs == nil {
		return errors.New("--globals: no module is given; add one with --module")
	}
	return nil
}

// start loads the modules and registers them with the source, which it closes
// if that fails.
func (f *moduleFlags) start(src source.Source) (kernelModules, error) {
	if f.specs == nil {
		return nil, nil
	}
	modules, err := f.load()
	if err == nil {
		err = modules.register(src.(interface{ Table() *kernel.Table }).Table(), f.observeOnly)
	}
	if err != nil {
		return nil, errors.Join(err, closeSource(src), modules.close())
	}
	return modules, nil
}

// register registers the modules with a table, and tells of those that cannot
// refuse what they want to.
func (list kernelModules) register(t *kernel.Table, observeOnly bool) error {
	for _, m := range list {
		if err := t.Register(m, kernel.RegisterOptions{AllowObserveOnly: observeOnly}); err != nil {
			if errors.Is(err, kernel.ErrNoVeto) {
				return fmt.Errorf("%w; --allow-observe-only runs it all the same, and refuses nothing", err)
			}
			return err
		}
	}
	return nil
}

// show writes the global variables of the modules that are no parameters.
func (list kernelModules) show(w io.Writer) error {
	for _, m := range list {
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
				_, err = fmt.Fprintf(w, "%s: %s = %s\n", m.Name(), g.Name, value(g.Value))
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

func (list kernelModules) close() error {
	var errs []error
	for _, m := range list {
		errs = append(errs, m.Close())
	}
	return errors.Join(errs...)
}
