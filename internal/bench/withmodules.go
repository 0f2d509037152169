package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/classify"
	"github.com/taskwatch/taskwatch/module/kernel"
	"github.com/taskwatch/taskwatch/modules"
	"github.com/taskwatch/taskwatch/source/bpf"
)

// kernelModules returns the names of the stock modules that run in the kernel.
func kernelModules() (names []string) {
	for _, m := range modules.All() {
		if m.Object() != nil && !m.Sandboxed() {
			names = append(names, m.Name)
		}
	}
	return names
}

// loadOptions gives a stock module work to do with each task of the loads, where
// it would have none by default.
func loadOptions(name string) (opts kernel.LoadOptions, err error) {
	switch name {
	case "label": // the parent runs the loads, and all that they make has its label
		opts.Params = map[string]string{"value": "bench", "children": strconv.Itoa(os.Getppid())}
	case "execguard":
		opts.Params = map[string]string{"prefix": "/nowhere/"}
	case classify.Module:
		var rules classify.Rules
		if rules, err = classify.Parse(strings.NewReader("*  *  bench\n")); err == nil {
			opts.Contents = map[string][]byte{}
			opts.Contents[classify.Map], err = rules.Entries()
		}
	}
	return opts, err
}

// silent, in the place of a parameter, has cnproc make no messages, as a daemon does
// while no program listens.
const silent = "silent"

// withModules has stock modules at work, which are named in arg, each with a parameter
// behind a colon or without, and takes their records. Nobody watches events besides.
func withModules(o order) (_ *childReport, err error) {
	report := &childReport{}
	var reg taskwatch.Registry
	records := taskwatch.NewSink(nil, func(it taskwatch.Item) {
		if it.Loss != nil {
			report.Lost += it.Loss.Count
		}
	})
	if err := reg.Attach(records); err != nil {
		return nil, err
	}
	watching := make(chan struct{})
	src, err := bpf.New(bpf.Config{OnReady: func() { close(watching) }})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- src.Run(ctx, &reg) }()
	var loaded []*kernel.Module
	defer func() {
		cancel()
		err = errors.Join(err, <-ended)
		for _, m := range loaded {
			err = errors.Join(err, m.Close())
		}
	}()
	select {
	case err := <-ended:
		ended <- nil
		return nil, err
	case <-watching:
	}
	for spec := range strings.SplitSeq(o.arg, ",") {
		name, param, _ := strings.Cut(spec, ":")
		stock := modules.Find(name)
		if stock == nil {
			return nil, fmt.Errorf("bench: there is no stock module %q", name)
		}
		opts, err := loadOptions(name)
		if err != nil {
			return nil, err
		}
		if key, value, ok := strings.Cut(param, "="); ok {
			opts.Params = map[string]string{key: value}
		}
		object, err := kernel.Parse(name, stock.Object())
		if err != nil {
			return nil, err
		}
		m, err := object.Load(opts)
		if err != nil {
			return nil, err
		}
		loaded = append(loaded, m)
		if param == silent {
			if err := m.UpdateMap("silent", "0", "1"); err != nil {
				return nil, err
			}
		}
		// Where nothing can be denied, the watchers cost the same.
		if err := src.Table().Register(m, kernel.RegisterOptions{AllowObserveOnly: true, AllowBestEffort: true}); err != nil {
			return nil, err
		}
	}
	o.ready()
	<-o.stop
	return report, nil
}
