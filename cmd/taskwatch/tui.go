package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/filter"
	"github.com/taskwatch/taskwatch/internal/sys"
	"github.com/taskwatch/taskwatch/source"
)

// commandScreen is the screen of run --tui, or nil without that: then the source
// just runs.
type commandScreen struct {
	*display
	below *commandPane
}

// checkScreen says why there can be no screen.
func (f *runFlags) checkScreen() error {
	if f.attaches() {
		return errors.New("with -p there is no command to show; 'taskwatch top --where' shows processes that run")
	}
	return needsScreen("leave --tui out, and events go to standard error, or to a file (-o)")
}

// openScreen makes the screen, if there is to be one. Nothing is drawn yet.
func (f *runFlags) openScreen(argv []string, r *relay) (*commandScreen, error) {
	if !f.tui {
		return nil, nil
	}
	var fields taskwatch.Fields
	if f.where.filter != nil {
		parsed, err := filter.Parse(f.where.expr, filter.Options{})
		if err != nil {
			return nil, err
		}
		fields = parsed.Reads() & taskwatch.OptionalFields
	}
	s := newDisplay(context.Background(), fields, f.failed())
	s.nameContainers()
	if err := s.view.Where(f.where.expr); err != nil {
		return nil, fmt.Errorf("--where: %w", err)
	}
	s.clock = sys.Monotonic
	p, err := openCommandPane(argv, s)
	if err != nil {
		return nil, err
	}
	r.asked = p.leave
	return &commandScreen{s, p}, nil
}

// pane returns the command's pane, or nil.
func (s *commandScreen) pane() *commandPane {
	if s == nil {
		return nil
	}
	return s.below
}

// attach has the screen show what src delivers.
func (s *commandScreen) attach(reg *taskwatch.Registry, src source.Supervisor) error {
	if s == nil {
		return nil
	}
	s.below.target = src
	s.view.Source = "source " + src.Name()
	s.over = func() string { return fmt.Sprintf("exit status %d", shellStatus(src.Exit())) }
	return reg.Attach(taskwatch.NewQueue(s.sink, taskwatch.QueueOptions{Block: true}))
}

// run runs a source, and shows it until it has ended and a key or a signal ends
// the screen. close gives back what a source has that is not run.
func (s *commandScreen) run(source func(context.Context) error, close func() error) error {
	if s == nil {
		return source(context.Background())
	}
	return s.display.run(source, close)
}

func (s *commandScreen) close() {
	if s != nil {
		s.below.Close()
	}
}
