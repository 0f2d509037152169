package report

import (
	"errors"
	"regexp"
	"strings"

	"github.com/taskwatch/taskwatch"
)

// EnvCut says which values of environments are left out of items. The zero value
// leaves out nothing. It may be used by several goroutines.
type EnvCut struct {
	Names  bool           // all values
	Secret *regexp.Regexp // those of variables whose NAME=VALUE it matches; may be nil
}

// How users say whether values are shown.
const (
	EnvAll   = "all"
	EnvNames = "names"
)

// ParseSecret returns the regular expression of a user, for [EnvCut.Secret]. The
// error does not say where it is from.
func ParseSecret(expr string) (*regexp.Regexp, error) {
	if expr == "" {
		return nil, errors.New("the expression is empty and would match everything; show only names instead")
	}
	re, err := regexp.Compile(expr)
	if err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	return re, nil
}

// Nothing returns whether nothing is left out.
func (c EnvCut) Nothing() bool { return !c.Names && c.Secret == nil }

// Item returns an item without the values. What it changes is a copy, because
// others see the same event as it is.
func (c EnvCut) Item(it taskwatch.Item) taskwatch.Item {
	switch {
	case c.Nothing():
	case it.Event != nil && it.Event.Extra != nil:
		it.Event = c.event(it.Event)
	case it.Failure != nil && it.Failure.Event != nil && it.Failure.Event.Extra != nil:
		f := *it.Failure
		f.Event = c.event(f.Event)
		it.Failure = &f
	}
	return it
}

func (c EnvCut) event(ev *taskwatch.Event) *taskwatch.Event {
	if len(ev.Extra.Env) == 0 {
		return ev
	}
	e, x := *ev, *ev.Extra
	x.Env = c.List(x.Env)
	e.Extra = &x
	return &e
}

// List returns an environment without the values.
func (c EnvCut) List(env []string) []string {
	if c.Nothing() {
		return env
	}
	list := make([]string, len(env))
	for i, v := range env {
		name, _, valued := strings.Cut(v, "=")
		switch {
		case !valued, c.Names:
			v = name
		case c.Secret.MatchString(v):
			v = name + "=" + Redacted
		}
		list[i] = v
	}
	return list
}
