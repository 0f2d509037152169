// Package auto opens the best source that works, among the sources that watch
// running tasks: the machine, a cgroup or a process tree.
package auto

import (
	"errors"
	"fmt"
	"strings"

	"github.com/taskwatch/taskwatch/internal/features"
	"github.com/taskwatch/taskwatch/source"
	"github.com/taskwatch/taskwatch/source/bpf"
	"github.com/taskwatch/taskwatch/source/connector"
)

// Name stands for the best source that works.
const Name = "auto"

// Config says what is to be watched.
type Config struct {
	bpf.Config // Command must be nil

	// Kernel says that modules that run in the kernel are to be registered,
	// which only the source bpf can do.
	Kernel bool
}

// sources are those that can watch what others started, best first.
var sources = []struct {
	name string
	open func(*Config) (source.Source, error)
}{
	{bpf.Name, openBPF},
	{connector.Name, openConnector},
}

// Names returns the names that Open takes.
func Names() []string {
	names := []string{Name}
	for _, s := range sources {
		names = append(names, s.name)
	}
	return names
}

// Open returns the source of that name, or for [Name] the best that works;
// then passed says why not a better one. The caller must call Run or Close.
func Open(name string, cfg Config) (src source.Source, passed error, err error) {
	known := false
	var unusable Unusable
	for _, s := range sources {
		if name != s.name && name != Name {
			continue
		}
		known = true
		src, err := s.open(&cfg)
		if err == nil {
			return src, unusable.Err(), nil
		}
		unusable = append(unusable, err)
	}
	if !known {
		return nil, nil, fmt.Errorf("unknown source %q; choose one of %s", name, strings.Join(Names(), ", "))
	}
	return nil, nil, unusable.Err()
}

// Unusable are the reasons why several sources cannot be used.
type Unusable []error

// Err returns them as one error: nil for none, and one line for several.
func (r Unusable) Err() error {
	switch len(r) {
	case 0:
		return nil
	case 1:
		return r[0]
	}
	return r
}

func (r Unusable) Error() string { return OneLine(errors.Join(r...)) }

// Unwrap returns all of them.
func (r Unusable) Unwrap() []error { return r }

// OneLine returns the text of an error without its line breaks.
func OneLine(err error) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(err.Error(), "\n", "; ")), " ")
}

// NeedBPF says in short why BPF is not available; the errors of the packages
// would describe the details that failed first. It returns nil if BPF is
// available.
func NeedBPF() error {
	if r := features.BPF.Probe(); r.Answer != features.Yes {
		return fmt.Errorf("bpf: %s", r.Reason)
	}
	return nil
}

func openBPF(cfg *Config) (source.Source, error) {
	if err := NeedBPF(); err != nil {
		return nil, err
	}
	src, err := bpf.New(cfg.Config)
	if err != nil {
		return nil, err
	}
	return src, nil
}

func openConnector(cfg *Config) (source.Source, error) {
	switch {
	case cfg.Kernel:
		return nil, errors.New("connector: modules for the kernel (-m FILE.o) need the source bpf")
	case cfg.Cgroup != "":
		return nil, errors.New("connector: it cannot watch one cgroup (--cgroup); the source bpf can")
	}
	src, err := connector.New(connector.Config{PID: cfg.PID, OnReady: cfg.OnReady})
	if err != nil {
		return nil, err
	}
	return src, nil
}
