// Package doctor tries what taskwatch can do on this machine. It watches
// children of its own, and denies them things; nothing else on the machine is
// touched, and nothing is left behind. The program that uses it must call
// [Child] when it is run as [ChildCommand].
package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/features"
	"github.com/taskwatch/taskwatch/module"
	"github.com/taskwatch/taskwatch/module/build"
	"github.com/taskwatch/taskwatch/source/auto"
	"github.com/taskwatch/taskwatch/source/bpf"
	"github.com/taskwatch/taskwatch/source/connector"
	"github.com/taskwatch/taskwatch/source/ptrace"
)

// What came of trying.
const (
	Found    = "yes"
	NotFound = "no"
	Untried  = "not tried"

	// Inconclusive says that the machine was too busy to find out.
	Inconclusive = "inconclusive"
)

// Diagnosis is what was found.
type Diagnosis struct {
	Kernel   string    `json:"kernel"`
	Arch     string    `json:"arch"`
	User     int       `json:"user"` // effective id
	Tier     string    `json:"veto_tier,omitempty"`
	Powers   []Power   `json:"powers"`
	Features []Feature `json:"features"`
	Sources  []Source  `json:"sources"`
	Clang    string    `json:"clang"` // "yes", or why not
}

// Power is what was found of a power that a module in the kernel may ask for.
type Power struct {
	Name   string `json:"name"`
	Answer string `json:"answer"` // of the features
	Reason string `json:"reason,omitempty"`
}

// Feature is what was found of a feature of the kernel.
type Feature struct {
	Name   string `json:"name"`
	Use    string `json:"use"`
	Answer string `json:"answer"`
	Reason string `json:"reason,omitempty"`
}

// Source is what was found of a source.
type Source struct {
	Name   string  `json:"name"`
	Works  bool    `json:"works"`
	Answer string  `json:"answer"` // Found, NotFound or Inconclusive
	Why    string  `json:"why,omitempty"`
	Scope  string  `json:"scope,omitempty"`
	Events []Event `json:"events,omitempty"`
}

// Event is what was found of a kind of event: each of Seen, Veto and
// KernelModules is Found, NotFound or Untried.
type Event struct {
	Event         string   `json:"event"`
	Declared      bool     `json:"declared"`
	Seen          string   `json:"seen"`
	Veto          string   `json:"veto"`
	VetoHook      string   `json:"veto_hook,omitempty"`
	KernelModules string   `json:"kernel_modules"`
	Hook          string   `json:"hook,omitempty"`
	Missing       []string `json:"missing,omitempty"`
	MayMiss       []string `json:"may_miss,omitempty"`
	Why           string   `json:"why,omitempty"`
}

// Examine tries everything, for as long as ctx allows, and some minutes a
// source where the machine is too busy.
func Examine(ctx context.Context) *Diagnosis {
	d := &Diagnosis{User: os.Geteuid(), Clang: Found}
	var uts unix.Utsname
	if err := unix.Uname(&uts); err == nil { // it cannot fail
		d.Kernel, d.Arch = unix.ByteSliceToString(uts.Release[:]), unix.ByteSliceToString(uts.Machine[:])
	}
	for _, f := range features.All() {
		r := f.Probe()
		d.Features = append(d.Features, Feature{f.Name, f.Use, r.Answer.String(), r.Reason})
	}
	for _, s := range []struct {
		name string
		try  func(context.Context) (*trial, error)
	}{
		{bpf.Name, tryBPF}, {connector.Name, tryConnector}, {ptrace.Name, tryPtrace},
	} {
		t, err := s.try(ctx)
		if err != nil {
			failed := Source{Name: s.name, Answer: NotFound, Why: auto.OneLine(err)}
			if errors.Is(err, errBusy) {
				failed.Answer = Inconclusive
			}
			d.Sources = append(d.Sources, failed)
			continue
		}
		d.Sources = append(d.Sources, t.describe(s.name))
		if t.support != nil {
			d.Tier = t.tier()
		}
	}
	for _, name := range module.Powers {
		r := probePower(name)
		d.Powers = append(d.Powers, Power{name, r.Answer.String(), r.Reason})
	}
	if err := build.Available(); err != nil {
		d.Clang = err.Error()
	}
	return d
}

// tier names the best way to deny something that has had its effect.
func (t *trial) tier() string {
	switch {
	case t.denied[taskwatch.Init] != denial:
		return "3: observe only"
	case t.support.LSM == nil:
		return "1: veto by BPF LSM"
	}
	return "2: veto by fmod_ret"
}

func (t *trial) describe(name string) Source {
	s := Source{Name: name, Works: true, Answer: Found, Scope: t.caps.Scope}
	if t.support != nil {
		s.Scope = "the machine, a cgroup, or a process tree" // and not that of the trial
	}
	if name == connector.Name {
		s.Scope = "the machine, or a process tree"
	}
	for _, k := range taskwatch.AllKinds.List() {
		c := t.caps.Events[k]
		e := Event{
			Event: k.String(), Declared: c.Delivered, Hook: c.Hook, Why: c.Why,
			Missing: c.Missing.Names(), MayMiss: c.MayMiss.Names(),
			Seen: t.sight(k, t.seen[k].Load()), Veto: NotFound, KernelModules: NotFound,
		}
		if e.Declared && e.Seen == NotFound && t.lost.Load() {
			e.Seen, e.Why = Untried, lostWhy
		}
		var veto string
		switch {
		case t.support != nil:
			support := t.support.Events()[k]
			veto = support.Veto
			e.KernelModules = t.sight(k, t.inKernel[k])
			e.Why = support.Why
			if c.Missing != 0 { // the source's words are about them, too
				e.Why = c.Why
			}
		case c.Veto:
			veto = c.Hook
		}
		if veto != "" && k.Vetoable() {
			switch {
			case t.denied[k] == denial:
				e.Veto, e.VetoHook = Found, veto
			case t.denied[k] == t.done[k] && t.done[k] != 0: // the child may not do it anyway
				e.Veto = Untried
			default:
				e.Why = strings.TrimPrefix(e.Why+"; a denial at "+veto+" had no effect", "; ")
			}
		}
		s.Events = append(s.Events, e)
	}
	return s
}

// lostWhy says why it is not known whether an event is delivered.
const lostWhy = "the machine is too busy: events were lost, and this may be one of them"

// sight says whether events were seen. Where the child may not do what they
// tell of, and none came, nothing is known.
func (t *trial) sight(k taskwatch.Kind, n uint64) string {
	switch {
	case n > 0:
		return Found
	case t.expects(k):
		return NotFound
	}
	return Untried
}

// Err returns an error if something is not as it was declared, or nothing
// works.
func (d *Diagnosis) Err() error {
	var wrong []string
	works := false
	for _, s := range d.Sources {
		works = works || s.Works
		for _, e := range s.Events {
			if e.Declared && e.Seen == NotFound {
				wrong = append(wrong, s.Name+" did not deliver "+e.Event)
			}
		}
	}
	switch {
	case !works:
		return errors.New("doctor: no source works here")
	case wrong != nil:
		return fmt.Errorf("doctor: not as declared: %s; please report this with the output of 'taskwatch doctor -f json'", strings.Join(wrong, ", "))
	}
	return nil
}
