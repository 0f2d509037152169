package wasm

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/tetratelabs/wazero/api"
)

// The layout of what poll_oneoff reads and writes.
const (
	subscriptionSize = 48
	eventSize        = 32

	pollClock = 0 // kinds of subscriptions; 1 and 2 are for files
	absolute  = 1
)

// subscription is one thing that the module waits for.
type subscription struct {
	userdata uint64
	kind     byte
	errno    wasiErrno
	wait     time.Duration // until it has come
}

func readSubscription(b []byte) subscription {
	le := binary.LittleEndian
	s := subscription{userdata: le.Uint64(b), kind: b[8]}
	if s.kind != pollClock {
		if le.Uint32(b[16:]) > 2 {
			s.errno = wasiBadFD
		}
		return s // the standard files are ready
	}
	now, ok := clock(uint64(le.Uint32(b[16:])))
	if !ok {
		s.errno = wasiInval
		return s
	}
	ns := le.Uint64(b[24:])
	if le.Uint16(b[40:])&absolute != 0 {
		ns -= min(ns, now)
	}
	s.wait = time.Duration(min(ns, math.MaxInt64))
	return s
}

// wasiPoll waits for the first of a few things, no longer than the module may
// run.
func (h *host) wasiPoll(mod api.Module, args []uint64) wasiErrno {
	n := uint32(args[2])
	if n == 0 || n > maxSubscriptions {
		return wasiInval
	}
	in, ok := mod.Memory().Read(uint32(args[0]), n*subscriptionSize)
	if !ok {
		return wasiFault
	}
	if _, ok := mod.Memory().Read(uint32(args[1]), n*eventSize); !ok {
		return wasiFault
	}
	var list []subscription
	first := time.Duration(math.MaxInt64)
	for ; len(in) > 0; in = in[subscriptionSize:] {
		s := readSubscription(in)
		list = append(list, s)
		first = min(first, s.wait)
	}
	if first > 0 {
		h.dog.sleep(int64(first))
	}
	if h.dog.stopping() {
		return wasiIntr
	}
	var events []byte
	for _, s := range list {
		if s.wait > first {
			continue
		}
		var e [eventSize]byte
		binary.LittleEndian.PutUint64(e[:], s.userdata)
		binary.LittleEndian.PutUint16(e[8:], uint16(s.errno))
		e[10] = s.kind
		events = append(events, e[:]...)
	}
	mod.Memory().Write(uint32(args[1]), events)
	return putU32(mod, args[3], uint32(len(events)/eventSize))
}
