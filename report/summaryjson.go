package report

import (
	"encoding/json"
	"io"

	"github.com/taskwatch/taskwatch/internal/clean"
)

// summaryJSON is a summary as JSON. Times are in nanoseconds, sizes in bytes.
// Unknown values are left out.
type summaryJSON struct {
	WallNS       int64    `json:"wall_ns"`
	UserNS       int64    `json:"utime_ns"`
	SystemNS     int64    `json:"stime_ns"`
	CPUAtLeast   bool     `json:"cpu_at_least,omitempty"` // not every task told
	Parallel     *float64 `json:"parallel,omitempty"`
	ParallelMost *int     `json:"parallel_most,omitempty"`
	Tasks        uint64   `json:"tasks"`
	Processes    uint64   `json:"processes"`
	Ended        uint64   `json:"ended"`
	Failed       uint64   `json:"failed"`
	Programs     int      `json:"programs"`
	Execs        uint64   `json:"execs"`
	Lost         uint64   `json:"lost"`
	LostAtLeast  bool     `json:"lost_at_least,omitempty"` // nobody knows how many more
	Denied       uint64   `json:"denied"`
	WouldDeny    uint64   `json:"would_deny"`
	Errors       uint64   `json:"errors"`

	Slowest      []commandJSON `json:"by_wall,omitempty"`
	Hungriest    []commandJSON `json:"by_cpu,omitempty"`
	Largest      []commandJSON `json:"by_rss,omitempty"`
	Busiest      []commandJSON `json:"by_io,omitempty"`
	FailedList   []commandJSON `json:"failures,omitempty"`
	CriticalPath []stepJSON    `json:"critical_path,omitempty"`
	ByProgram    []programJSON `json:"by_program,omitempty"`
}

// commandJSON is a program that a process has run.
type commandJSON struct {
	PID         int     `json:"pid"`
	Command     string  `json:"command"` // as a shell would have it
	WallNS      int64   `json:"wall_ns"`
	WallAtLeast bool    `json:"wall_at_least,omitempty"` // it began before it was seen
	CPUNS       *int64  `json:"cpu_ns,omitempty"`
	CPUAtMost   bool    `json:"cpu_at_most,omitempty"` // it has earlier programs of the process in it
	MaxRSS      *uint64 `json:"maxrss_bytes,omitempty"`
	RSSAtMost   bool    `json:"maxrss_at_most,omitempty"` // it may be that of an earlier program, or of the fork
	IO          *uint64 `json:"io_bytes,omitempty"`
	Exec        bool    `json:"exec,omitempty"` // it did not end, but ran another program
	Code        *int    `json:"code,omitempty"`
	Signal      *int    `json:"signal,omitempty"`
	Core        bool    `json:"core,omitempty"`
}

type stepJSON struct {
	AtNS    int64  `json:"at_ns"` // from the first event
	WallNS  int64  `json:"wall_ns"`
	PID     int    `json:"pid,omitempty"`
	Command string `json:"command,omitempty"` // none stands for all steps that are not listed
	Steps   int    `json:"steps,omitempty"`   // how many these are
}

type programJSON struct {
	Program   string  `json:"program"`
	Execs     uint64  `json:"execs"`
	Failed    uint64  `json:"failed"`
	WallNS    int64   `json:"wall_ns"`
	CPUNS     int64   `json:"cpu_ns"`
	CPUAtMost bool    `json:"cpu_at_most,omitempty"`
	MaxRSS    uint64  `json:"maxrss_bytes"`
	RSSAtMost bool    `json:"maxrss_at_most,omitempty"`
	IO        *uint64 `json:"io_bytes,omitempty"`
}

// WriteJSON writes the summary as one JSON object, and a newline. It may be
// called while events still come.
func (s *Summary) WriteJSON(w io.Writer) error {
	s.mu.Lock()
	j := s.json()
	s.mu.Unlock()
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(j)
}

func (s *Summary) json() *summaryJSON {
	j := &summaryJSON{
		WallNS: s.lastNS - s.firstNS, UserNS: s.userNS, SystemNS: s.systemNS, CPUAtLeast: s.noCPU(),
		Tasks: s.processes.Tasks(), Processes: s.births, Ended: s.ended, Failed: s.failures,
		Programs: s.programCount(), Execs: s.execs, Lost: s.lost, LostAtLeast: s.lostSome,
		Denied: s.denied, WouldDeny: s.wouldDeny, Errors: s.errors,
		FailedList: s.commandsJSON(s.failed),
	}
	if average, most := s.parallelism(); most > 0 {
		j.Parallel, j.ParallelMost = &average, &most
	}
	for _, t := range s.lists {
		list := s.commandsJSON(t.list)
		switch t.by {
		case SortWall:
			j.Slowest = list
		case SortCPU:
			j.Hungriest = list
		case SortRSS:
			j.Largest = list
		case SortIO:
			j.Busiest = list
		}
	}
	steps, others, othersNS := s.critical()
	for _, x := range steps {
		j.CriticalPath = append(j.CriticalPath, stepJSON{AtNS: x.fromNS, WallNS: x.wallNS, PID: x.pid, Command: x.command})
	}
	if others > 0 {
		j.CriticalPath = append(j.CriticalPath, stepJSON{WallNS: othersNS, Steps: others})
	}
	list := s.sortedPrograms()
	for _, p := range list[:min(len(list), s.opts.Top)] {
		x := programJSON{Program: clean.Text(p.name), Execs: p.execs, Failed: p.failures, WallNS: p.wallNS,
			CPUNS: p.cpuNS, CPUAtMost: p.shared, MaxRSS: p.maxRSS, RSSAtMost: p.atMost}
		if s.opts.Sort == SortIO {
			x.IO = &p.io
		}
		j.ByProgram = append(j.ByProgram, x)
	}
	return j
}

func (s *Summary) commandsJSON(list []ending) []commandJSON {
	var out []commandJSON
	for _, x := range list {
		c := commandJSON{PID: x.pid, Command: x.command, WallNS: x.wallNS, WallAtLeast: x.atLeast, Exec: x.exec, Core: x.code.Core}
		cpu, io := x.usage.CPUNS(), x.io()
		if cpu > 0 || !x.exec && !s.noCPU() {
			c.CPUNS, c.CPUAtMost = &cpu, x.usage.AtMost()
		}
		if x.usage.MaxRSS > 0 {
			c.MaxRSS, c.RSSAtMost = &x.usage.MaxRSS, x.usage.PeakAtMost()
		}
		if s.opts.Sort == SortIO {
			c.IO = &io
		}
		if !x.exec {
			c.Code = &x.code.Code
			if x.code.Signal != 0 {
				c.Signal = &x.code.Signal
			}
		}
		out = append(out, c)
	}
	return out
}
