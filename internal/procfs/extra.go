package procfs

import (
	"bytes"
	"encoding/binary"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
)

// maxEnv bounds the environment of a task, in bytes.
const maxEnv = 64 << 10

// Extra returns those of the wanted optional fields of a task that its files
// tell. They are right as long as the task does not run.
func (r *Reader) Extra(pid, tid int, want taskwatch.Fields) taskwatch.Extra {
	var x taskwatch.Extra
	r.extraOfFiles(&x, pid, tid, want)
	r.extraOfLinks(&x, pid, tid, want)
	const before = taskwatch.FieldBeforeUTime | taskwatch.FieldBeforeSTime
	if want&before != 0 {
		if user, system, err := r.CPU(pid, tid); err == nil {
			x.BeforeUTimeNS, x.BeforeSTimeNS = user, system
			x.Given |= before
		}
	}
	if want.Has(taskwatch.FieldCgroupID) {
		if id, ok := r.cgroupID(pid, tid); ok {
			x.CgroupID = id
			x.Given |= taskwatch.FieldCgroupID
		}
	}
	x.Given &= want
	return x
}

// extraOfFiles reads the files that have a field that is wanted.
func (r *Reader) extraOfFiles(x *taskwatch.Extra, pid, tid int, want taskwatch.Fields) {
	number := func(f taskwatch.Fields, to *uint32, file string) {
		if !want.Has(f) {
			return
		}
		if b, err := r.read(pid, tid, file); err == nil {
			if n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 32); err == nil {
				*to = uint32(n)
				x.Given |= f
			}
		}
	}
	number(taskwatch.FieldAUID, &x.AUID, "loginuid")
	number(taskwatch.FieldSessionID, &x.SessionID, "sessionid")
	const ofStatus = taskwatch.FieldCapsEffective | taskwatch.FieldCapsPermitted | taskwatch.FieldCapsInheritable |
		taskwatch.FieldCapsBounding | taskwatch.FieldCapsAmbient | taskwatch.FieldGroups | taskwatch.FieldVPID
	if want&ofStatus != 0 {
		if b, err := r.read(pid, tid, "status"); err == nil {
			extraOfStatus(x, b)
		}
	}
	if want&(taskwatch.FieldSID|taskwatch.FieldTTY|taskwatch.FieldNice) != 0 {
		if b, err := r.read(pid, tid, "stat"); err == nil {
			extraOfStat(x, b)
		}
	}
	if want.Has(taskwatch.FieldEnv) {
		if b, err := r.read(pid, tid, "environ"); err == nil {
			x.Env, x.EnvCut = splitEnv(b)
			x.Given |= taskwatch.FieldEnv
		}
	}
	if want.Has(taskwatch.FieldCapsSecure) {
		if b, err := r.read(pid, tid, "auxv"); err == nil {
			if v, ok := auxv(b, atSecure); ok {
				x.CapsSecure = v != 0
				x.Given |= taskwatch.FieldCapsSecure
			}
		}
	}
}

// extraOfLinks looks at the links to namespaces and to the program.
func (r *Reader) extraOfLinks(x *taskwatch.Extra, pid, tid int, want taskwatch.Fields) {
	for _, ns := range []struct {
		field taskwatch.Fields
		to    *uint32
		file  string
	}{
		{taskwatch.FieldNSMnt, &x.NSMnt, "ns/mnt"}, {taskwatch.FieldNSPID, &x.NSPID, "ns/pid"},
		{taskwatch.FieldNSNet, &x.NSNet, "ns/net"}, {taskwatch.FieldNSUser, &x.NSUser, "ns/user"},
	} {
		if want.Has(ns.field) {
			if id, ok := r.namespace(pid, tid, ns.file); ok {
				*ns.to = id
				x.Given |= ns.field
			}
		}
	}
	if want&(taskwatch.FieldExeDev|taskwatch.FieldExeIno) != 0 {
		var st unix.Stat_t
		if unix.Stat(r.name(pid, tid, "exe"), &st) == nil {
			x.ExeDev, x.ExeIno = uint64(st.Dev), st.Ino
			x.Given |= taskwatch.FieldExeDev | taskwatch.FieldExeIno
		}
	}
	if want.Has(taskwatch.FieldExeHost) {
		if path, err := r.link(pid, "exe"); err == nil {
			x.ExeHost = path
			x.Given |= taskwatch.FieldExeHost
		}
	}
}

// extraOfStatus takes what a status file has.
func extraOfStatus(x *taskwatch.Extra, b []byte) {
	mask := func(f taskwatch.Fields, to *uint64, value []byte) {
		if n, err := strconv.ParseUint(string(value), 16, 64); err == nil {
			*to = n
			x.Given |= f
		}
	}
	for line := range bytes.Lines(b) {
		key, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch string(key) {
		case "CapEff":
			mask(taskwatch.FieldCapsEffective, &x.CapsEffective, value)
		case "CapPrm":
			mask(taskwatch.FieldCapsPermitted, &x.CapsPermitted, value)
		case "CapInh":
			mask(taskwatch.FieldCapsInheritable, &x.CapsInheritable, value)
		case "CapBnd":
			mask(taskwatch.FieldCapsBounding, &x.CapsBounding, value)
		case "CapAmb":
			mask(taskwatch.FieldCapsAmbient, &x.CapsAmbient, value)
		case "Groups":
			x.Groups = []uint32{}
			for _, word := range bytes.Fields(value) {
				n, err := strconv.ParseUint(string(word), 10, 32)
				if err != nil {
					return
				}
				x.Groups = append(x.Groups, uint32(n))
			}
			x.Given |= taskwatch.FieldGroups
		case "NSpid":
			if words := bytes.Fields(value); len(words) > 0 {
				x.VPID = int(number(words[len(words)-1]))
				x.Given |= taskwatch.FieldVPID
			}
		}
	}
}

// namespace returns the number in a link such as "mnt:[4026531841]".
func (r *Reader) namespace(pid, tid int, file string) (uint32, bool) {
	to, err := os.Readlink(r.name(pid, tid, file))
	if err != nil {
		return 0, false
	}
	_, id, _ := strings.Cut(strings.TrimSuffix(to, "]"), "[")
	n, err := strconv.ParseUint(id, 10, 32)
	return uint32(n), err == nil
}

// extraOfStat takes what a stat file has: the session, the controlling terminal, ""
// where there is none, and the nice value.
func extraOfStat(x *taskwatch.Extra, b []byte) {
	end := bytes.LastIndexByte(b, ')')
	words := bytes.Fields(b[end+1:])
	if end < 0 || len(words) < 17 {
		return
	}
	if n, err := strconv.Atoi(string(words[3])); err == nil {
		x.SID = n
		x.Given |= taskwatch.FieldSID
	}
	if n, err := strconv.ParseInt(string(words[4]), 10, 64); err == nil {
		dev := uint32(n) // the kernel's own encoding: 12 bits of major, 20 of minor in two pieces
		x.TTY = TTYName(dev>>8&0xfff, dev&0xff|dev>>12&0xfff00)
		x.Given |= taskwatch.FieldTTY
	}
	if n, err := strconv.Atoi(string(words[16])); err == nil {
		x.Nice = n
		x.Given |= taskwatch.FieldNice
	}
}

// TTYName returns the name that a terminal has in /dev.
func TTYName(major, minor uint32) string {
	text := func(n uint32) string { return strconv.FormatUint(uint64(n), 10) }
	switch {
	case major == 0:
		return ""
	case major >= 136 && major < 144:
		return "pts/" + text((major-136)<<20|minor)
	case major == 4 && minor < 64:
		return "tty" + text(minor)
	case major == 4:
		return "ttyS" + text(minor-64)
	case major == 5 && minor == 1:
		return "console"
	}
	if to, err := os.Readlink("/sys/dev/char/" + text(major) + ":" + text(minor)); err == nil {
		return to[strings.LastIndexByte(to, '/')+1:]
	}
	return text(major) + ":" + text(minor)
}

// atSecure is AT_SECURE of linux/auxvec.h.
const atSecure = 23

// auxv looks up a value in the vector that the kernel gives to a program of this
// machine's own word size. Those of a 32-bit program have half the size.
func auxv(b []byte, key uint64) (uint64, bool) {
	le := binary.NativeEndian
	if len(b) >= 16 && len(b)%16 == 0 && le.Uint32(b[4:]) == 0 { // a key is small: its upper half is 0
		for ; len(b) >= 16; b = b[16:] {
			if le.Uint64(b) == key {
				return le.Uint64(b[8:]), true
			}
		}
		return 0, false
	}
	for ; len(b) >= 8; b = b[8:] {
		if uint64(le.Uint32(b)) == key {
			return uint64(le.Uint32(b[4:])), true
		}
	}
	return 0, false
}

// splitEnv returns the variables of an environ file, and whether some are
// left out.
func splitEnv(b []byte) (env []string, cut bool) {
	if cut = len(b) > maxEnv; cut {
		b = b[:maxEnv]
	}
	env = []string{}
	for len(b) > 0 {
		v, rest, _ := bytes.Cut(b, []byte{0})
		env = append(env, string(v))
		b = rest
	}
	return env, cut
}
