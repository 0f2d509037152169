package ptrace

import (
	"bytes"
	"errors"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
)

// procReader reads files of /proc about stopped tasks into one buffer.
type procReader struct {
	path []byte
	buf  []byte
}

// taskStat is what /proc/PID/task/TID/stat says of one task.
type taskStat struct {
	comm             string
	minflt, majflt   uint64
	utimeNS, stimeNS int64 // in steps of a clock tick
	startNS          int64 // boot clock, in steps of a clock tick
}

// taskStatus is what /proc/PID/task/TID/status says of one task.
type taskStatus struct {
	comm          string
	tgid, ppid    int
	uid, gid      taskwatch.IDs
	hwmBytes      uint64
	capEff        uint64
	nvcsw, nivcsw uint64
}

// tickNS is a clock tick in nanoseconds: USER_HZ is 100 on every port of ours.
const tickNS = 10_000_000

var errProc = errors.New("ptrace: unexpected content in /proc")

func (r *procReader) read(pid, tid int, name string) ([]byte, error) {
	p := append(r.path[:0], "/proc/"...)
	p = strconv.AppendInt(p, int64(pid), 10)
	if tid != 0 {
		p = append(p, "/task/"...)
		p = strconv.AppendInt(p, int64(tid), 10)
	}
	p = append(p, '/')
	p = append(p, name...)
	r.path = p
	fd, err := unix.Open(string(p), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	if r.buf == nil {
		r.buf = make([]byte, 16<<10)
	}
	n := 0
	for {
		m, err := unix.Read(fd, r.buf[n:])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, err
		}
		n += m
		if m == 0 || n < len(r.buf) && name != "cmdline" {
			// The other files are written in one piece.
			return r.buf[:n], nil
		}
		if n == len(r.buf) {
			r.buf = append(r.buf, make([]byte, len(r.buf))...)
		}
	}
}

func (r *procReader) stat(pid, tid int, st *taskStat) error {
	b, err := r.read(pid, tid, "stat")
	if err != nil {
		return err
	}
	return parseStat(b, st)
}

func parseStat(b []byte, st *taskStat) error {
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 0 || end < open {
		return errProc
	}
	st.comm = string(b[open+1 : end])
	var fields [20]uint64 // from the third field of proc(5) on, as far as they are numbers
	rest := b[end+1:]
	for i := range fields {
		rest = bytes.TrimLeft(rest, " ")
		word, tail, _ := bytes.Cut(rest, []byte(" "))
		rest = tail
		fields[i] = number(word)
	}
	const minflt, majflt, utime, stime, start = 10 - 3, 12 - 3, 14 - 3, 15 - 3, 22 - 3
	st.minflt, st.majflt = fields[minflt], fields[majflt]
	st.utimeNS, st.stimeNS = int64(fields[utime])*tickNS, int64(fields[stime])*tickNS
	st.startNS = int64(fields[start]) * tickNS
	return nil
}

// number reads a decimal number, 0 where there is none.
func number(b []byte) (n uint64) {
	for _, c := range b {
		if c < '0' || c > '9' {
			break
		}
		n = n*10 + uint64(c-'0')
	}
	return n
}

func (r *procReader) status(pid, tid int, st *taskStatus) error {
	b, err := r.read(pid, tid, "status")
	if err != nil {
		return err
	}
	return parseStatus(b, st)
}

func parseStatus(b []byte, st *taskStatus) error {
	found := 0
	for len(b) > 0 {
		var line []byte
		line, b, _ = bytes.Cut(b, []byte("\n"))
		key, value, ok := bytes.Cut(line, []byte(":"))
		if !ok {
			continue
		}
		value = bytes.TrimLeft(value, "\t ")
		switch string(key) {
		case "Name":
			st.comm = unescapeComm(value)
		case "Tgid":
			st.tgid = int(number(value))
			found++
		case "PPid":
			st.ppid = int(number(value))
		case "Uid":
			st.uid = parseIDs(value)
			found++
		case "Gid":
			st.gid = parseIDs(value)
			found++
		case "VmHWM":
			st.hwmBytes = number(value) << 10
		case "CapEff":
			st.capEff, _ = strconv.ParseUint(string(value), 16, 64)
		case "voluntary_ctxt_switches":
			st.nvcsw = number(value)
		case "nonvoluntary_ctxt_switches":
			st.nivcsw = number(value)
		}
	}
	if found != 3 {
		return errProc
	}
	return nil
}

// unescapeComm undoes what the kernel does to newlines and backslashes in the
// Name line (proc_task_name in fs/proc/array.c).
func unescapeComm(b []byte) string {
	if bytes.IndexByte(b, '\\') < 0 {
		return string(b)
	}
	return strings.NewReplacer(`\n`, "\n", `\\`, `\`).Replace(string(b))
}

func parseIDs(b []byte) (ids taskwatch.IDs) {
	for i := range ids {
		b = bytes.TrimLeft(b, "\t ")
		ids[i] = uint32(number(b))
		if end := bytes.IndexAny(b, "\t "); end >= 0 {
			b = b[end:]
		}
	}
	return ids
}

// schedstat returns the exact CPU time of a task in ns.
func (r *procReader) schedstat(pid, tid int) (int64, error) {
	b, err := r.read(pid, tid, "schedstat")
	if err != nil {
		return 0, err
	}
	return int64(number(b)), nil
}

// io returns the bytes of storage I/O of a task.
func (r *procReader) io(pid, tid int) (read, write uint64, err error) {
	b, err := r.read(pid, tid, "io")
	if err != nil {
		return 0, 0, err
	}
	for len(b) > 0 {
		var line []byte
		line, b, _ = bytes.Cut(b, []byte("\n"))
		if v, ok := bytes.CutPrefix(line, []byte("read_bytes: ")); ok {
			read = number(v)
		} else if v, ok := bytes.CutPrefix(line, []byte("write_bytes: ")); ok {
			write = number(v)
		}
	}
	return read, write, nil
}

// argv returns the whole argument list of a process that has just run exec.
func (r *procReader) argv(pid int) ([]string, error) {
	b, err := r.read(pid, 0, "cmdline")
	if err != nil {
		return nil, err
	}
	return splitArgv(b), nil
}

// splitArgv splits strings that each end in a NUL.
func splitArgv(b []byte) []string {
	if len(b) == 0 {
		return []string{}
	}
	return strings.Split(strings.TrimSuffix(string(b), "\x00"), "\x00")
}

// link returns what a link below /proc/PID points to, or "".
func (r *procReader) link(pid int, name string) string {
	target, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/" + name)
	if err != nil {
		return ""
	}
	return target
}

// cgroup returns the path of the process's cgroup, or "": in the unified
// hierarchy, else in the one named systemd.
func (r *procReader) cgroup(pid int) string {
	b, err := r.read(pid, 0, "cgroup")
	if err != nil {
		return ""
	}
	var named, unified []byte
	for len(b) > 0 {
		var line []byte
		line, b, _ = bytes.Cut(b, []byte("\n"))
		if v, ok := bytes.CutPrefix(line, []byte("0::")); ok {
			unified = v
		} else if _, v, ok := bytes.Cut(line, []byte(":name=systemd:")); ok {
			named = v
		}
	}
	if unified == nil {
		unified = named
	}
	return string(unified)
}
