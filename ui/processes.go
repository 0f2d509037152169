package ui

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/filter"
	"github.com/taskwatch/taskwatch/internal/procfs"
	"github.com/taskwatch/taskwatch/internal/sys"
	"github.com/taskwatch/taskwatch/process"
)

// living is a process that lives now.
type living struct {
	PID    int      `json:"pid"`
	PPID   int      `json:"ppid"`
	UID    *uint32  `json:"uid,omitempty"`
	Argv   []string `json:"argv,omitempty"`
	Cut    bool     `json:"cut,omitempty"` // there are more arguments
	Name   string   `json:"name"`
	RunsUS int64    `json:"runs_us"`
	Chosen bool     `json:"chosen"` // by the expression, if there is one
}

// maxLiving limits the processes of an answer, and maxArgv the bytes of the
// arguments of each: a table shows no more.
const (
	maxLiving = 10_000
	maxArgv   = 1000
)

// processes answers with the processes that the machine has now: the daemon's
// events are about those that do something. They come from /proc, as this user
// sees it.
func (s *Server) processes(w http.ResponseWriter, r *http.Request) {
	choose, ok := s.chosen(w, r)
	if !ok {
		return
	}
	// The daemon's pids are the machine's.
	if initial, err := procfs.InInitialNamespace(procfs.PIDNamespace); err == nil && !initial {
		http.Error(w, "this process runs in a pid namespace, where /proc does not have the machine's pids", http.StatusServiceUnavailable)
		return
	}
	var tree process.Tree
	if err := tree.Scan(); err != nil {
		http.Error(w, fmt.Sprintf("the processes of this machine: %v", err), http.StatusServiceUnavailable)
		return
	}
	now := sys.BootTime()
	list := []living{}
	var read procfs.Reader
	for p := range tree.Live() {
		st, err := read.Stat(p.PID, 0)
		if err != nil || len(list) == maxLiving {
			continue // it has ended
		}
		c := p.Program().Command
		l := living{PID: p.PID, PPID: st.PPID, Name: c.Name(), RunsUS: max(0, now-st.StartNS) / int64(time.Microsecond)}
		size := 0
		for _, a := range c.Argv {
			if size += len(a); size > maxArgv {
				l.Cut = true
				break
			}
			l.Argv = append(l.Argv, a)
		}
		ev := process.Existing(p.PID, c)
		if !ev.Missing.Has(taskwatch.FieldUID) {
			l.UID = &ev.Task.UID[taskwatch.RealID]
		}
		l.Chosen = choose == nil || choose.Match(taskwatch.Item{Event: ev}, p) != filter.No
		list = append(list, l)
	}
	slices.SortFunc(list, func(a, b living) int { return cmp.Compare(a.PID, b.PID) })
	answer(w, map[string]any{"processes": list})
}
