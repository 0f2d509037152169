package top

import (
	"fmt"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/process"
)

// Proc is a process as it is shown.
type Proc struct {
	*process.Process
	User      string // "" where unknown
	Container string // id, shortened; "" outside of any
	Cwd       string // "" where unknown

	Seen  time.Time // of the first event; zero for one that was there before
	EndNS int64     // 0 while it lives, or where that is unknown
	Exit  taskwatch.ExitStatus
	Ends  bool // Exit is known

	last      taskwatch.Event // an event that stands for the process, to be matched
	n         uint64
	groups    [3]*Group
	matchedAs uint64 // the filter whose answer matched is, plus 1; 0 where it has to be asked
	matched   bool
}

// failed reports whether the process ended with a status other than 0.
func (p *Proc) failed() bool { return p.Ends && (p.Exit.Code != 0 || p.Exit.Signal != 0) }

// Status says how the process ended: "exit 1", "SIGSEGV", "" while it lives.
func (p *Proc) status() string { return status(p.Exit, p.Ends) }

// Run is a program that has ended.
type Run struct {
	Proc    *Proc
	Command process.Command
	WallNS  int64
	Usage   process.Usage
	End     time.Time
	Status  string // "exec" where another program came
}

// Failed is something that failed.
type Failed struct {
	Proc   *Proc // nil where unknown
	PID    int
	User   string
	Time   time.Time
	Status string // "exit 1", "SIGSEGV", "exec: no such file or directory"
	Argv   []string
	Cut    bool   // Argv is not complete
	Name   string // instead of argv, where that is unknown
}

func status(e taskwatch.ExitStatus, known bool) string {
	switch {
	case !known:
		return ""
	case e.Signal != 0 && e.Core:
		return signalName(e.Signal) + ", core"
	case e.Signal != 0:
		return signalName(e.Signal)
	}
	return fmt.Sprintf("exit %d", e.Code)
}
