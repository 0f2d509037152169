package daemon

import (
	"io"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/report"
	"github.com/taskwatch/taskwatch/sink/acct"
	"github.com/taskwatch/taskwatch/sink/audit"
)

// logForm makes what a log holds, for a log that is no recording. What it writes
// is there when a method returns.
type logForm interface {
	Wants() taskwatch.Wants
	Take(taskwatch.Item)
	TakeUnsure(taskwatch.Item) // nobody can tell whether it is selected
	Pass(taskwatch.Item)       // it is not selected
}

// newLogForm returns the form of a format, or nil for a recording.
func newLogForm(format string, w io.Writer, choice *stream) logForm {
	switch format {
	case LogText:
		return report.NewText(w, report.TextOptions{Kinds: choice.kinds, FailedExecs: choice.failed})
	case LogAcct:
		return &acctForm{acct.New(w)}
	case LogAudit:
		return &auditForm{audit.New(w)}
	}
	return nil
}

// acctForm is accounting that keeps back nothing. Its errors are those of the
// buffer it writes to, which has none.
type acctForm struct{ *acct.Sink }

func (f *acctForm) Take(it taskwatch.Item) {
	f.Sink.Take(it)
	_ = f.Flush()
}

func (f *acctForm) TakeUnsure(it taskwatch.Item) { f.Take(it) }

// auditForm is the same for the records of the module auditrec.
type auditForm struct{ *audit.Sink }

func (f *auditForm) Take(it taskwatch.Item) {
	f.Sink.Take(it)
	_ = f.Flush()
}

func (f *auditForm) TakeUnsure(it taskwatch.Item) { f.Take(it) }

func (f *auditForm) Pass(taskwatch.Item) {}
