package bench

import (
	"encoding/json"
	"os"
	"strings"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/record"
)

// counting tells which event of which load a line of output tells of, if any.
// It sees the lines in their order.
type counting func(line string) (Load, taskwatch.Kind, bool)

// line counts a line of output, and reports whether it is an event of a load.
func (r *childReport) line(line string, count counting) bool {
	load, k, ok := count(line)
	if ok {
		r.Seen[load][k]++
	} else if strings.HasPrefix(line, `{"event":"lost"`) {
		if it, err := record.Decode([]byte(line)); err == nil {
			r.Lost += it.Loss.Count
		}
	}
	return ok
}

func bpftraceLines(p *programs) counting {
	return func(line string) (Load, taskwatch.Kind, bool) {
		event, comm, _ := strings.Cut(line, " ")
		load, ok := p.tag.load(comm)
		switch event {
		case "fork":
			return load, taskwatch.Clone, ok
		case "exec":
			return load, taskwatch.Exec, ok
		}
		return load, taskwatch.Exit, ok
	}
}

// forkstatLines reads forkstat's output. It looks for the name of a task when
// the task may have gone, and then has none, or that of its creator; and it
// takes one that has gone for a process. So all that happens from the exec of
// the load's own process, which lives long, to its exit counts as the load's,
// unless it has another name.
func forkstatLines(p *programs) counting {
	var load Load
	pid := "" // of the load's own process
	return func(line string) (Load, taskwatch.Kind, bool) {
		f := strings.Fields(line)
		if len(f) < 4 {
			return 0, 0, false
		}
		name := f[len(f)-1]
		if l, ok := p.tag.load(name); pid == "" {
			if !ok || f[1] != "exec" {
				return 0, 0, false
			}
			load, pid = l, f[2]
		}
		if name != p.tag.comm(load) && name != "<unknown>" {
			return 0, 0, false
		}
		switch f[1] {
		case "fork", "clone":
			return load, taskwatch.Clone, f[3] != "parent"
		case "exec":
			return load, taskwatch.Exec, true
		case "exit":
			if f[2] == pid {
				pid = ""
			}
			return load, taskwatch.Exit, true
		}
		return 0, 0, false
	}
}

// namesOf counts lines that begin with the name of the task.
func namesOf(k taskwatch.Kind) func(*programs) counting {
	return func(p *programs) counting {
		return func(line string) (Load, taskwatch.Kind, bool) {
			name, _, _ := strings.Cut(line, " ")
			load, ok := p.tag.load(name)
			return load, k, ok
		}
	}
}

func jsonLines(p *programs) counting {
	return func(line string) (Load, taskwatch.Kind, bool) {
		kind, rest, _ := strings.Cut(strings.TrimPrefix(line, `{"event":"`), `"`)
		k, err := taskwatch.ParseKind(kind)
		_, rest, _ = strings.Cut(rest, `"comm":"`)
		comm, _, _ := strings.Cut(rest, `"`)
		load, ok := p.tag.load(comm)
		return load, k, ok && err == nil
	}
}

// connectorLines reads a recording of the source connector. The name of a task that has
// gone is unknown, so what happens to the load's own process, which has a name or is
// known to have been run, and to its children is the load's.
func connectorLines(p *programs) counting {
	var load Load
	pid := 0       // of the load's own process
	ended := false // its first thread has: others may end a little later
	return func(line string) (Load, taskwatch.Kind, bool) {
		var l struct {
			Event string `json:"event"`
			Task  struct {
				PID, TID, PPID int
				Comm           string
			} `json:"task"`
		}
		if json.Unmarshal([]byte(line), &l) != nil {
			return 0, 0, false
		}
		k, err := taskwatch.ParseKind(l.Event)
		own, ok := p.tag.load(l.Task.Comm)
		if !ok && l.Task.PPID == os.Getpid() { // else its pid may have been a load's before
			own, ok = p.loadOf(l.Task.PID)
		}
		if ok && k == taskwatch.Exec && l.Task.PPID != 0 && l.Task.PPID != pid {
			load, pid, ended = own, l.Task.PID, false
		}
		first := l.Task.PID == pid && l.Task.TID == pid
		switch {
		case err != nil || pid == 0:
			return load, k, false
		case !ended:
			ended = first && k == taskwatch.Exit // it has waited for its children
			return load, k, l.Task.PID == pid || l.Task.PPID == pid
		case first:
			pid = 0 // somebody else has its pid
		}
		return load, k, pid != 0 && l.Task.PID == pid && k == taskwatch.Exit
	}
}

// straceLines reads strace's output, all of which is about the load. A call that ends
// in a line of its own is counted there.
func straceLines(*programs) counting {
	return func(line string) (Load, taskwatch.Kind, bool) {
		_, line, _ = strings.Cut(line, " ") // the pid
		line = strings.TrimSpace(line)
		call := strings.TrimPrefix(line, "<... ")
		switch {
		case strings.HasSuffix(line, "<unfinished ...>"):
		case strings.HasPrefix(call, "clone"), strings.HasPrefix(call, "fork"), strings.HasPrefix(call, "vfork"):
			return 0, taskwatch.Clone, true
		case strings.HasPrefix(call, "execve"):
			return 0, taskwatch.Exec, true
		case strings.HasPrefix(call, "setresuid"):
			return 0, taskwatch.UID, true
		case strings.HasPrefix(call, "setresgid"):
			return 0, taskwatch.GID, true
		case strings.HasPrefix(line, "+++ exited"):
			return 0, taskwatch.Exit, true
		}
		return 0, 0, false
	}
}
