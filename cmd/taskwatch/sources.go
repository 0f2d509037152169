package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/taskwatch/taskwatch/features"
	"github.com/taskwatch/taskwatch/source"
	"github.com/taskwatch/taskwatch/source/bpf"
	"github.com/taskwatch/taskwatch/source/connector"
)

// watched is what a source is to watch, for the sources of what others start.
type watched struct {
	bpf.Config // Command is not used here

	// kernel is whether modules that run in the kernel are to be registered.
	kernel bool
}

// watchSources are the sources that can watch what taskwatch did not start,
// best first.
var watchSources = []struct {
	name string
	open func(*watched) (source.Source, error)
}{
	{bpf.Name, openBPF},
	{connector.Name, openConnector},
}

func watchSourceNames() []string {
	names := []string{autoSource}
	for _, s := range watchSources {
		names = append(names, s.name)
	}
	return names
}

// openWatch returns the source of that name, or the best that works; then
// passed says why not a better one.
func openWatch(name string, w *watched) (src source.Source, passed error, err error) {
	known := false
	var errs []error
	for _, s := range watchSources {
		if name != s.name && name != autoSource {
			continue
		}
		known = true
		src, err := s.open(w)
		if err == nil {
			return src, errors.Join(errs...), nil
		}
		errs = append(errs, err)
	}
	if !known {
		return nil, nil, fmt.Errorf("--source %q: unknown source; choose one of %s", name, strings.Join(watchSourceNames(), ", "))
	}
	return nil, nil, joined(errs)
}

// joined returns the errors as one, on one line if they are several.
func joined(errs []error) error {
	if len(errs) == 1 {
		return errs[0]
	}
	return errors.New(oneLine(errors.Join(errs...)))
}

func openBPF(w *watched) (source.Source, error) {
	if err := needBPF(); err != nil {
		return nil, err
	}
	src, err := bpf.New(w.Config)
	if err != nil {
		return nil, err
	}
	return src, nil
}

// needBPF says in short why there is no BPF, where the packages would go into
// what failed first.
func needBPF() error {
	if r := features.BPF.Probe(); r.Answer != features.Yes {
		return fmt.Errorf("bpf: %s", r.Reason)
	}
	return nil
}

func openConnector(w *watched) (source.Source, error) {
	switch {
	case w.kernel:
		return nil, errors.New("connector: modules (-m) run in the kernel, which needs the source bpf")
	case w.Cgroup != "":
		return nil, errors.New("connector: it cannot watch one cgroup (--cgroup); the source bpf can")
	}
	src, err := connector.New(connector.Config{PID: w.PID, OnReady: w.OnReady})
	if err != nil {
		return nil, err
	}
	return src, nil
}

// oneLine returns the text of an error without its line breaks.
func oneLine(err error) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(err.Error(), "\n", "; ")), " ")
}
