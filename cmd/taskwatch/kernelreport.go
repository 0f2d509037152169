package main

import (
	"github.com/taskwatch/taskwatch/record"
	"github.com/taskwatch/taskwatch/report"
	"github.com/taskwatch/taskwatch/source/bpf"
)

// kernelNews shows what modules in the kernel report and send.
type kernelNews struct {
	out *output // set before the source runs
}

func (n *kernelNews) report(r bpf.Report) { n.out.recorded(r.Line()) }

func (n *kernelNews) emitted(e bpf.Emitted) { n.out.emitted(e.Line()) }

// emitted shows a record that a module in the kernel has sent.
func (o *output) emitted(l *record.EmitLine) {
	if o.recording != nil {
		o.recording.Emit(l)
	}
	if o.text != nil {
		o.text.Emitted(&report.Emitted{Module: l.Module, Data: l.Data, Time: l.Time, Task: l.Task})
	}
}
