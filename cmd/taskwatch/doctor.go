package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/features"
	"github.com/taskwatch/taskwatch/module/build"
	"github.com/taskwatch/taskwatch/source/auto"
	"github.com/taskwatch/taskwatch/source/bpf"
	"github.com/taskwatch/taskwatch/source/connector"
	"github.com/taskwatch/taskwatch/source/ptrace"
)

func newDoctor() *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Show what this kernel can deliver, by trying it",
		Long: `doctor tries what taskwatch can do on this machine, with the privileges that it
has: for each source, it watches a child of its own that forks, runs a program,
changes its ids and exits, and has a watcher refuse all of that to another one.
Nothing else on the machine is refused anything, and nothing is left behind.

For each event it shows whether it was seen, whether it was refused, whether a
module in the kernel was called (source bpf), the hook, and the fields that are
always missing; below, why something is not there.

The exit status is:

    0    everything that was declared was seen
    1    something was declared and not seen, or no source works`,
		Example: `  sudo taskwatch doctor
  taskwatch doctor -f json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkFormat(format); err != nil {
				return &exitError{status: exitUsage, err: err}
			}
			ctx, cancel := untilSignal()
			defer cancel()
			d := examine(ctx)
			if ctx.Err() != nil {
				return &exitError{status: exitFailed, err: errors.New("doctor: interrupted")}
			}
			var err error
			if format == formatJSON {
				err = writeJSON(cmd.OutOrStdout(), d)
			} else {
				err = d.write(cmd.OutOrStdout())
			}
			if err == nil {
				err = d.verdict()
			}
			if err != nil {
				return &exitError{status: exitFailed, err: err}
			}
			return nil
		},
	}
	addFormat(cmd, &format)
	return cmd
}

// What was found by trying.
const (
	found    = "yes"
	notFound = "no"
	untried  = "not tried"
)

// diagnosis is what doctor found.
type diagnosis struct {
	Kernel   string          `json:"kernel"`
	Arch     string          `json:"arch"`
	User     int             `json:"user"` // effective id
	Tier     string          `json:"veto_tier,omitempty"`
	Features []doctorFeature `json:"features"`
	Sources  []doctorSource  `json:"sources"`
	Clang    string          `json:"clang"` // "yes", or why not
}

type doctorFeature struct {
	Name   string `json:"name"`
	Use    string `json:"use"`
	Answer string `json:"answer"`
	Reason string `json:"reason,omitempty"`
}

type doctorSource struct {
	Name   string        `json:"name"`
	Works  bool          `json:"works"`
	Why    string        `json:"why,omitempty"`
	Scope  string        `json:"scope,omitempty"`
	Events []doctorEvent `json:"events,omitempty"`
}

type doctorEvent struct {
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

func examine(ctx context.Context) *diagnosis {
	d := &diagnosis{User: os.Geteuid(), Clang: found}
	var uts unix.Utsname
	if err := unix.Uname(&uts); err == nil { // it cannot fail
		d.Kernel, d.Arch = unix.ByteSliceToString(uts.Release[:]), unix.ByteSliceToString(uts.Machine[:])
	}
	for _, f := range features.All() {
		r := f.Probe()
		d.Features = append(d.Features, doctorFeature{f.Name, f.Use, r.Answer.String(), r.Reason})
	}
	for _, s := range []struct {
		name string
		try  func(context.Context) (*trial, error)
	}{
		{bpf.Name, tryBPF}, {connector.Name, tryConnector}, {ptrace.Name, tryPtrace},
	} {
		t, err := s.try(ctx)
		if err != nil {
			d.Sources = append(d.Sources, doctorSource{Name: s.name, Why: auto.OneLine(err)})
			continue
		}
		d.Sources = append(d.Sources, t.describe(s.name))
		if t.support != nil {
			d.Tier = t.tier()
		}
	}
	if err := build.Available(); err != nil {
		d.Clang = err.Error()
	}
	return d
}

// tier names the best way to refuse something that has had its effect.
func (t *trial) tier() string {
	switch {
	case t.refused[taskwatch.Init] != refusal:
		return "3: observe only"
	case t.support.LSM == nil:
		return "1: veto by BPF LSM"
	}
	return "2: veto by fmod_ret"
}

func (t *trial) describe(name string) doctorSource {
	s := doctorSource{Name: name, Works: true, Scope: t.caps.Scope}
	if t.support != nil {
		s.Scope = "the machine, a cgroup, or a process tree" // and not that of the trial
	}
	if name == connector.Name {
		s.Scope = "the machine, or a process tree"
	}
	for _, k := range taskwatch.AllKinds.List() {
		c := t.caps.Events[k]
		e := doctorEvent{
			Event: k.String(), Declared: c.Delivered, Hook: c.Hook, Why: c.Why,
			Missing: c.Missing.Names(), MayMiss: c.MayMiss.Names(),
			Seen: t.sight(k, t.seen[k].Load()), Veto: notFound, KernelModules: notFound,
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
			case t.refused[k] == refusal:
				e.Veto, e.VetoHook = found, veto
			case t.refused[k] == t.done[k] && t.done[k] != 0: // the child may not do it anyway
				e.Veto = untried
			default:
				e.Why = strings.TrimPrefix(e.Why+"; a refusal at "+veto+" had no effect", "; ")
			}
		}
		s.Events = append(s.Events, e)
	}
	return s
}

// sight says whether events were seen. Where the child may not do what they
// tell of, and none came, nothing is known.
func (t *trial) sight(k taskwatch.Kind, n uint64) string {
	switch {
	case n > 0:
		return found
	case t.expects(k):
		return notFound
	}
	return untried
}

// verdict returns an error if something is not as it was declared.
func (d *diagnosis) verdict() error {
	var wrong []string
	works := false
	for _, s := range d.Sources {
		works = works || s.Works
		for _, e := range s.Events {
			if e.Declared && e.Seen == notFound {
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

func (d *diagnosis) write(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Linux %s (%s), as user %d\n", d.Kernel, d.Arch, d.User)
	if d.Tier != "" {
		fmt.Fprintf(&b, "tier of vetoes in the kernel: %s\n", d.Tier)
	}
	for _, s := range d.Sources {
		s.write(&b)
	}
	b.WriteString("\nthe kernel\n")
	tw := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, f := range d.Features {
		fmt.Fprintf(tw, "  %s\t%s\t%s\n", f.Name, f.Answer, f.Reason)
	}
	fmt.Fprintf(tw, "  clang, to build modules\t%s\n", d.Clang)
	tw.Flush()
	_, err := io.WriteString(w, b.String())
	return err
}

func (s *doctorSource) write(b *strings.Builder) {
	if !s.Works {
		fmt.Fprintf(b, "\nsource %s: does not work: %s\n", s.Name, s.Why)
		return
	}
	fmt.Fprintf(b, "\nsource %s: %s\n", s.Name, s.Scope)
	tw := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tw, "  EVENT\tSEEN\tVETO\tKERNEL MODULES\tHOOK\tMISSING\n")
	for _, e := range s.Events {
		veto := e.Veto
		if e.VetoHook != "" && e.VetoHook != e.Hook {
			veto += ": " + e.VetoHook
		}
		fmt.Fprintf(tw, "  %s\t%s\t%s\t%s\t%s\t%s\n", e.Event, e.Seen, veto, e.KernelModules, dash(e.Hook), dash(strings.Join(e.Missing, ",")))
	}
	tw.Flush()
	for i, e := range s.Events {
		same := func(other doctorEvent) bool { return other.Why == e.Why }
		if e.Why == "" || slices.ContainsFunc(s.Events[:i], same) {
			continue // it was said
		}
		var events []string
		for _, other := range s.Events[i:] {
			if same(other) {
				events = append(events, other.Event)
			}
		}
		fmt.Fprintf(b, "  %s: %s\n", strings.Join(events, ", "), e.Why)
	}
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
