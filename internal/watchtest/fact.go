package watchtest

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/taskwatch/taskwatch"
)

// fact is one line of the workload's report: see testdata/workload.c.
type fact struct {
	Fact string `json:"fact"` // clone, failed, exec, uid, gid, exit, usage, stdio, note, error

	PID  int `json:"pid"`
	TID  int `json:"tid"`
	PPID int `json:"ppid"`

	// clone and failed
	By         int    `json:"by"`    // the tid of the creator
	Flags      uint64 `json:"flags"` // clone flags, valid in the bits of Known
	Known      uint64 `json:"known"`
	StartTicks int64  `json:"start_ticks"` // field 22 of /proc/TID/stat
	Late       bool   `json:"late"`        // the kernel had made the task when the fork failed

	// exec
	FromTID int           `json:"from_tid"` // the tid before
	Exe     hexString     `json:"exe"`
	Comm    hexString     `json:"comm"`
	Cwd     hexString     `json:"cwd"`
	OldExe  hexString     `json:"old_exe"` // "" if not known
	Argv    []hexString   `json:"argv"`
	UID     taskwatch.IDs `json:"uid"`
	GID     taskwatch.IDs `json:"gid"`

	// uid and gid
	Old   taskwatch.IDs `json:"old"`
	New   taskwatch.IDs `json:"new"`
	Cause string        `json:"cause"`

	// exit
	Status int    `json:"status"` // wait status
	Group  string `json:"group"`  // the process: "goes on", "ends" with this task, ends with several "together"

	// usage: what the task had used when it looked, shortly before its end
	AtNS       int64  `json:"at_ns"` // CLOCK_MONOTONIC
	LivedNS    int64  `json:"lived_ns"`
	CPUNS      int64  `json:"cpu_ns"`
	MaxRSS     uint64 `json:"maxrss"`
	MinFlt     uint64 `json:"minflt"`
	MajFlt     uint64 `json:"majflt"`
	NVCSw      uint64 `json:"nvcsw"`
	NIvCSw     uint64 `json:"nivcsw"`
	ReadBytes  uint64 `json:"read_bytes"`
	WriteBytes uint64 `json:"write_bytes"`

	// stdio
	Dev uint64 `json:"dev"`
	Ino uint64 `json:"ino"`

	// note and error
	Key   string `json:"key"`
	Value int64  `json:"value"`
}

// hexString is a string of any bytes, in hex in the report.
type hexString string

func (s *hexString) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	*s = hexString(b)
	return err
}

func plain(list []hexString) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = string(s)
	}
	return out
}

// parseFacts reads a report. An unfinished last line, of a workload that
// still runs, is left out.
func parseFacts(report []byte) ([]*fact, error) {
	var facts []*fact
	for i := 1; ; i++ {
		line, rest, ok := bytes.Cut(report, []byte("\n"))
		if !ok {
			return facts, nil
		}
		f := new(fact)
		if err := json.Unmarshal(line, f); err != nil {
			return nil, fmt.Errorf("the workload's report, line %d: %w: %.200q", i, err, line)
		}
		facts = append(facts, f)
		report = rest
	}
}
