package doctor

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/taskwatch/taskwatch/internal/features"
	"github.com/taskwatch/taskwatch/internal/table"
	"github.com/taskwatch/taskwatch/source/bpf"
	"github.com/taskwatch/taskwatch/source/connector"
	"github.com/taskwatch/taskwatch/source/ptrace"
)

// columns is how wide the text is, at most, as far as its words allow.
const columns = 80

// Write writes it as text: first three answers, then what they come from.
func (d *Diagnosis) Write(w io.Writer) error {
	var b strings.Builder
	answer(&b, "watch:", d.watch())
	answer(&b, "kernel modules:", d.kernelModules())
	answer(&b, "deny:", d.deny())
	fmt.Fprintf(&b, "\nLinux %s (%s), as user %d\n", d.Kernel, d.Arch, d.User)
	if d.Tier != "" {
		fmt.Fprintf(&b, "tier of vetoes in the kernel: %s\n", d.Tier)
	}
	for _, s := range d.Sources {
		s.write(&b)
	}
	b.WriteString("\nthe kernel\n")
	for _, f := range d.Features {
		detail(&b, f.Name, f.Answer, f.Reason)
	}
	for _, p := range d.Powers {
		detail(&b, "MODULE_POWER("+p.Name+")", p.Answer, p.Reason)
	}
	yes, why := Found, ""
	if d.Clang != Found {
		yes, why = NotFound, d.Clang
	}
	detail(&b, "clang, to build modules", yes, why)
	_, err := io.WriteString(w, b.String())
	return err
}

func (d *Diagnosis) source(name string) *Source {
	i := slices.IndexFunc(d.Sources, func(s Source) bool { return s.Name == name })
	if i < 0 {
		return &Source{Name: name, Answer: NotFound, Why: "it was not tried"}
	}
	return &d.Sources[i]
}

// watch says whether the machine can be watched.
func (d *Diagnosis) watch() string {
	var why []string
	answer := NotFound
	for _, name := range []string{bpf.Name, connector.Name} {
		s := d.source(name)
		if s.Works {
			if why != nil {
				return fmt.Sprintf("yes, with the source %s (%s)", name, strings.Join(why, "; "))
			}
			return "yes, with the source " + name
		}
		if s.Answer == Inconclusive {
			answer = Inconclusive
		}
		why = append(why, "not with "+name+": "+strings.TrimPrefix(s.Why, name+": "))
	}
	return answer + ": " + strings.Join(why, "; ")
}

// kernelModules says whether modules in the kernel are called.
func (d *Diagnosis) kernelModules() string {
	s := d.source(bpf.Name)
	if !s.Works {
		return s.Answer + ": " + strings.TrimPrefix(s.Why, bpf.Name+": ")
	}
	var not []string
	for _, e := range s.Events {
		if e.KernelModules == NotFound {
			not = append(not, e.Event)
		}
	}
	switch {
	case len(not) == len(s.Events):
		return "no: none was called"
	case not != nil:
		return "yes, except for " + strings.Join(not, ", ")
	}
	return Found
}

// deny says what can be denied, by whom, and what would change that.
func (d *Diagnosis) deny() string {
	var can []string
	s := d.source(bpf.Name)
	for _, e := range s.Events {
		if e.Veto == Found {
			can = append(can, e.Event)
		}
	}
	run := "ptrace does not work either"
	if d.source(ptrace.Name).Works {
		run = "'taskwatch run' can, by ptrace"
	}
	if can != nil {
		text := "yes, " + strings.Join(can, ", ")
		if _, how, ok := strings.Cut(d.Tier, "veto "); ok {
			text += ", " + how
		}
		return text
	}
	if !s.Works {
		return fmt.Sprintf("%s, in the kernel, where no module runs; %s", s.Answer, run)
	}
	text := "no, in the kernel"
	for _, f := range d.Features {
		if f.Name == features.LSM.Name && f.Answer != Found && f.Reason != "" {
			text += ", because " + f.Reason
			if strings.Contains(f.Reason, "lsm=") {
				text += " (boot with lsm=...,bpf)"
			}
		}
	}
	return text + "; " + run
}

// answer writes one of the first three lines.
func answer(b *strings.Builder, name, text string) {
	const indent = 16
	wrap(b, fmt.Sprintf("%-*s", indent, name), strings.Repeat(" ", indent), text)
}

// detail writes a line of what was tried in the kernel.
func detail(b *strings.Builder, name, answer, reason string) {
	first := fmt.Sprintf("  %-34s ", name)
	if reason != "" {
		answer += ": " + reason
	}
	wrap(b, first, strings.Repeat(" ", len(first)), answer)
}

// wrap writes words in lines, the first after one text and the others after
// another one.
func wrap(b *strings.Builder, first, others, text string) {
	b.WriteString(table.Wrap(columns, first, others, text))
}

func (s *Source) write(b *strings.Builder) {
	if !s.Works {
		what := "does not work"
		if s.Answer == Inconclusive {
			what = Inconclusive
		}
		b.WriteByte('\n')
		wrap(b, "source "+s.Name+": ", "  ", what+": "+strings.TrimPrefix(s.Why, s.Name+": "))
		return
	}
	fmt.Fprintf(b, "\nsource %s: %s\n", s.Name, s.Scope)
	t := table.NewLeft("EVENT", "SEEN", "VETO", "KERNEL MODULES", "HOOK")
	t.Indent = "  "
	for _, e := range s.Events {
		for i, hook := range strings.Split(dash(e.Hook), "; ") {
			if i == 0 {
				t.Row(e.Event, e.Seen, e.Veto, e.KernelModules, hook)
			} else {
				t.Row("", "", "", "", hook)
			}
		}
	}
	_ = t.Write(b) // into memory
	s.notes(b, "vetoed by", func(e Event) string {
		if e.VetoHook == e.Hook {
			return ""
		}
		return e.VetoHook
	})
	s.notes(b, "missing", func(e Event) string { return strings.Join(e.Missing, ", ") })
	s.notes(b, "", func(e Event) string { return e.Why })
}

// notes writes what is to be said of events, once for all of which it is said.
func (s *Source) notes(b *strings.Builder, what string, of func(Event) string) {
	if what != "" {
		what += " "
	}
	said := map[string]bool{"": true}
	for i, e := range s.Events {
		text := of(e)
		if said[text] {
			continue
		}
		said[text] = true
		var events []string
		for _, other := range s.Events[i:] {
			if of(other) == text {
				events = append(events, other.Event)
			}
		}
		wrap(b, "  "+strings.Join(events, ", ")+": ", "    ", what+text)
	}
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
