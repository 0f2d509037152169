package machine

import (
	"encoding/binary"
	"fmt"
)

// Region is a piece of memory that programs can have pointers into.
type Region struct {
	Name     string // for errors: "struct task_struct"
	Data     []byte
	ReadOnly bool

	// Known says of each byte whether its value is known; nil says that all are.
	Known []bool

	// Lazy makes the pointers at these offsets when they are read first. It may be
	// nil.
	Lazy map[int]func() (uint64, error)

	// Field names what lies at an offset, for errors. It may be nil.
	Field func(offset int) string

	base uint64
}

// Addr returns the address of the region's first byte.
func (r *Region) Addr() uint64 { return r.base }

// Memory is all that programs can read or write. The upper half of an address is
// the number of a region, which is never used again.
type Memory struct {
	regions map[uint32]*Region
	last    uint32
}

// margin is where regions begin, so that a pointer to what a field lies in stays
// in its region on the way.
const margin = 1 << 16

// Add gives a region its address.
func (m *Memory) Add(r *Region) *Region {
	if m.regions == nil {
		m.regions = map[uint32]*Region{}
	}
	m.last++
	r.base = uint64(m.last)<<32 | margin
	m.regions[m.last] = r
	return r
}

// Remove takes a region away.
func (m *Memory) Remove(r *Region) { delete(m.regions, uint32(r.base>>32)) }

// At returns the region of an address, or nil, and the place in it.
func (m *Memory) At(addr uint64) (r *Region, offset int) {
	return m.regions[uint32(addr>>32)], int(uint32(addr)) - margin
}

// null reports whether the kernel, too, has nothing there: near NULL.
func null(addr uint64) bool { return addr+margin < 2*margin }

// errFault is what the kernel has at NULL.
var errFault = fmt.Errorf("bad address")

// find returns size bytes at an address, of which the first n are there.
func (m *Memory) find(addr uint64, size int) (r *Region, offset, n int, err error) {
	if null(addr) {
		return nil, 0, 0, errFault
	}
	r, offset = m.At(addr)
	if r == nil || offset < 0 || offset >= len(r.Data) {
		return nil, 0, 0, Unsupported("it uses memory of the kernel that a recording does not have")
	}
	return r, offset, min(size, len(r.Data)-offset), nil
}

// Read returns size bytes; they are the region's own.
func (m *Memory) Read(addr uint64, size int) ([]byte, error) {
	if size == 0 {
		return nil, nil
	}
	r, offset, n, err := m.find(addr, size)
	if err != nil {
		return nil, err
	}
	if n < size {
		return nil, Unsupported("it reads %d bytes behind the end of %s", size-n, r.Name)
	}
	if err := r.know(offset, size); err != nil {
		return nil, err
	}
	return r.Data[offset : offset+size], nil
}

// know makes pointers that nobody has read yet, and returns an error of bytes that
// are not known.
func (r *Region) know(offset, size int) error {
	for at, pointer := range r.Lazy {
		if at+8 <= offset || at >= offset+size {
			continue
		}
		p, err := pointer()
		if err != nil {
			return err
		}
		delete(r.Lazy, at)
		r.put(at, p)
	}
	if r.Known == nil {
		return nil
	}
	for i := offset; i < offset+size; i++ {
		if !r.Known[i] {
			return Unsupported("it reads %s, which the recording does not have here", r.name(i))
		}
	}
	return nil
}

func (r *Region) name(offset int) string {
	if r.Field == nil {
		return r.Name
	}
	return r.Field(offset)
}

// Set writes a value that is known from now on. Its size is that of b.
func (r *Region) Set(offset int, b []byte) {
	copy(r.Data[offset:], b)
	for i := range b {
		r.Known[offset+i] = true
	}
	delete(r.Lazy, offset)
}

func (r *Region) put(offset int, v uint64) { r.Set(offset, binary.NativeEndian.AppendUint64(nil, v)) }

// Write changes memory that programs may write to.
func (m *Memory) Write(addr uint64, b []byte) error {
	if len(b) == 0 {
		return nil
	}
	r, offset, n, err := m.find(addr, len(b))
	switch {
	case err != nil:
		return Unsupported("it writes to an address that is not its own")
	case r.ReadOnly:
		return Unsupported("it writes to %s", r.Name)
	case n < len(b):
		return Unsupported("it writes %d bytes behind the end of %s", len(b)-n, r.Name)
	}
	copy(r.Data[offset:], b)
	return nil
}

// ReadString returns the bytes of a string up to its NUL, or max bytes of it.
func (m *Memory) ReadString(addr uint64, max int) (text []byte, ended bool, err error) {
	r, offset, n, err := m.find(addr, max)
	if err != nil {
		return nil, false, err
	}
	for i := range n {
		if err := r.know(offset+i, 1); err != nil {
			return nil, false, err
		}
		if r.Data[offset+i] == 0 {
			return r.Data[offset : offset+i], true, nil
		}
	}
	if n < max {
		return nil, false, Unsupported("it reads a string behind the end of %s", r.Name)
	}
	return r.Data[offset : offset+n], false, nil
}
