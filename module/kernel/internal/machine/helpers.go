package machine

import (
	"bytes"
	"errors"

	"golang.org/x/sys/unix"

	"github.com/cilium/ebpf/asm"
)

const maxLoops = 8 << 20 // of bpf_loop

// failure is what a helper returns for an error.
func failure(e unix.Errno) uint64 { return uint64(-int64(e)) }

// helper calls a helper that needs nothing but memory and maps, or the host's.
func (m *Machine) helper(fn asm.BuiltinFunc, a [5]uint64) (uint64, error) {
	switch fn {
	case asm.FnMapLookupElem, asm.FnMapUpdateElem, asm.FnMapDeleteElem, asm.FnForEachMapElem,
		asm.FnTaskStorageGet, asm.FnTaskStorageDelete:
		return m.mapHelper(fn, a)
	case asm.FnProbeRead, asm.FnProbeReadKernel, asm.FnProbeReadUser:
		return m.probeRead(a[0], int(uint32(a[1])), a[2])
	case asm.FnProbeReadStr, asm.FnProbeReadKernelStr, asm.FnProbeReadUserStr:
		return m.probeReadString(a[0], int(uint32(a[1])), a[2])
	case asm.FnGetPrandomU32:
		m.random = m.random*6364136223846793005 + 1442695040888963407
		return m.random >> 32, nil
	case asm.FnGetSmpProcessorId, asm.FnGetNumaNodeId, asm.FnSpinLock, asm.FnSpinUnlock, asm.FnTracePrintk:
		return 0, nil
	case asm.FnLoop:
		return m.loop(a)
	case asm.FnStrncmp:
		return m.compareStrings(a[0], int(uint32(a[1])), a[2])
	}
	return m.host.Helper(fn, a)
}

// maxRead is how many bytes a program may read or compare at once.
const maxRead = 1 << 24

func (m *Machine) probeRead(to uint64, size int, from uint64) (uint64, error) {
	if size > maxRead {
		return 0, Unsupported("it reads %d bytes at once", size)
	}
	b, err := m.Memory.Read(from, size)
	if err == errFault {
		return failure(unix.EFAULT), m.Memory.Write(to, make([]byte, size))
	}
	if err != nil {
		return 0, err
	}
	return 0, m.Memory.Write(to, bytes.Clone(b))
}

func (m *Machine) probeReadString(to uint64, size int, from uint64) (uint64, error) {
	switch {
	case size == 0:
		return 0, nil
	case size > maxRead:
		return 0, Unsupported("it reads %d bytes at once", size)
	}
	text, ended, err := m.Memory.ReadString(from, size)
	if err == errFault {
		return failure(unix.EFAULT), m.Memory.Write(to, make([]byte, size))
	}
	if err != nil {
		return 0, err
	}
	if !ended {
		text = text[:size-1]
	}
	b := append(bytes.Clone(text), 0)
	return uint64(len(b)), m.Memory.Write(to, b)
}

func (m *Machine) compareStrings(a uint64, size int, b uint64) (uint64, error) {
	for i := range uint64(size) {
		x, err := m.Memory.Read(a+i, 1)
		if err != nil {
			return 0, err
		}
		y, err := m.Memory.Read(b+i, 1)
		if err != nil {
			return 0, err
		}
		switch {
		case x[0] < y[0]:
			return ^uint64(0), nil
		case x[0] > y[0]:
			return 1, nil
		case x[0] == 0:
			return 0, nil
		}
	}
	return 0, nil
}

func (m *Machine) loop(a [5]uint64) (uint64, error) {
	n, f := uint32(a[0]), m.byAddr[a[1]]
	switch {
	case f == nil:
		return 0, Unsupported("it passes no function of its own to bpf_loop()")
	case n > maxLoops:
		return failure(unix.E2BIG), nil
	}
	for i := range n {
		r, err := m.enter(f, [5]uint64{uint64(i), a[2]})
		if err != nil {
			return 0, err
		}
		if r != 0 {
			return uint64(i) + 1, nil
		}
	}
	return uint64(n), nil
}

// Text returns the bytes of a program's memory, for helpers of the host.
func (m *Machine) Text(addr uint64, size int) ([]byte, error) {
	b, err := m.Memory.Read(addr, size)
	if errors.Is(err, errFault) {
		return nil, Unsupported("it passes NULL where memory is wanted")
	}
	return bytes.Clone(b), err
}
