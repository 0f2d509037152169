package acct

import (
	"encoding/binary"
	"math"
	"strconv"
	"strings"

	"github.com/taskwatch/taskwatch"
)

// RecordLen is the length of a record.
const RecordLen = 64

// The flags of a record.
const (
	flagFork   = 0x01 // AFORK: it never ran a program of its own
	flagCore   = 0x08 // ACORE
	flagSignal = 0x10 // AXSIG: a signal killed it
)

// Of the machine's byte order, as the kernel writes it (ACCT_BYTEORDER).
const (
	version   = 3
	bigEndian = 0x80
)

// hertz is how often ticks come that times are counted in (AHZ).
const hertz = 100

// record is a struct acct_v3.
type record struct {
	flags                    byte
	tty                      uint16
	status                   uint32
	uid, gid                 uint32
	pid, ppid                uint32
	begin                    uint32  // when it began: seconds since 1970
	elapsed                  float32 // from then on, in ticks
	user, system             uint16  // ticks, as all that follows with its own exponent
	minorFaults, majorFaults uint16
	comm                     string
}

// record returns the record of a process that ends with ev. CLOCK_BOOTTIME is
// ahead of CLOCK_MONOTONIC by that many nanoseconds.
func (u *usage) record(ev *taskwatch.Event, ahead int64) *record {
	t, has := ev.Task, ev.Fields()
	r := &record{
		status: uint32(u.status), pid: uint32(t.PID),
		user: compress(ticks(u.userNS)), system: compress(ticks(u.systemNS)),
		minorFaults: compress(u.minFlt), majorFaults: compress(u.majFlt),
	}
	status := taskwatch.DecodeExit(u.status)
	if u.forked {
		r.flags |= flagFork
	}
	if status.Core {
		r.flags |= flagCore
	}
	if status.Signal != 0 {
		r.flags |= flagSignal
	}
	r.uid, r.gid = nobody, nobody
	if has.Has(taskwatch.FieldUID) {
		r.uid = t.UID[0]
	}
	if has.Has(taskwatch.FieldGID) {
		r.gid = t.GID[0]
	}
	if has.Has(taskwatch.FieldPPID) {
		r.ppid = uint32(t.PPID)
	}
	if has.Has(taskwatch.FieldComm) {
		r.comm = t.Comm
	}
	if ev.Extra != nil && has.Has(taskwatch.FieldTTY) {
		r.tty = device(ev.Extra.TTY)
	}
	var elapsed uint64
	if u.startNS != 0 {
		elapsed = ticks(ev.MonoNS + ahead - u.startNS)
	}
	r.elapsed = float32(elapsed)
	r.begin = uint32(min(max(ev.Time.Unix()-int64(elapsed/hertz), 0), math.MaxUint32))
	return r
}

// nobody stands for an id that is not known.
const nobody = math.MaxUint32

func ticks(ns int64) uint64 { return uint64(max(ns, 0)) / (1e9 / hertz) }

// append appends the record in the machine's byte order.
func (r *record) append(b []byte) []byte {
	v := byte(version)
	if binary.NativeEndian.Uint16([]byte{0, 1}) == 1 {
		v |= bigEndian
	}
	b = append(b, r.flags, v)
	b = binary.NativeEndian.AppendUint16(b, r.tty)
	for _, n := range []uint32{r.status, r.uid, r.gid, r.pid, r.ppid, r.begin, math.Float32bits(r.elapsed)} {
		b = binary.NativeEndian.AppendUint32(b, n)
	}
	// What is between and behind: memory, characters, blocks and swaps.
	for _, n := range []uint16{r.user, r.system, 0, 0, 0, r.minorFaults, r.majorFaults, 0} {
		b = binary.NativeEndian.AppendUint16(b, n)
	}
	var comm [16]byte
	copy(comm[:len(comm)-1], r.comm)
	return append(b, comm[:]...)
}

// compress returns a comp_t: 3 bits of an exponent of 8, and 13 of a fraction,
// rounded.
func compress(n uint64) uint16 {
	const fraction = 13
	exp, up := uint64(0), false
	for n >= 1<<fraction {
		up = n&4 != 0
		n >>= 3
		exp++
	}
	if up {
		if n++; n >= 1<<fraction {
			n >>= 3
			exp++
		}
	}
	if exp > 7 {
		return math.MaxUint16
	}
	return uint16(exp<<fraction + n)
}

// terminals are the drivers of terminals with the numbers of their first device.
var terminals = []struct {
	name         string
	major, minor int
}{{"pts/", 136, 0}, {"ttyS", 4, 64}, {"ttyAMA", 204, 64}, {"hvc", 229, 0}, {"tty", 4, 0}}

// device returns the number of a terminal as 16 bits have it, or 0 where it has
// none.
func device(tty string) uint16 {
	for _, d := range terminals {
		rest, ok := strings.CutPrefix(tty, d.name)
		n, err := strconv.Atoi(rest)
		if !ok || err != nil || n < 0 {
			continue
		}
		major, minor := d.major+(n+d.minor)>>8, (n+d.minor)&0xff
		if major != d.major && d.major != 136 || major > 143 && d.major == 136 {
			return 0 // 16 bits have no room for it
		}
		return uint16(major<<8 | minor)
	}
	return 0
}
