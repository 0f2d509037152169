package sys

import (
	"fmt"
	"math/bits"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// RingBuffer reads the records of a BPF ring buffer map where they are, without
// copying them. It wants one reader: its methods must not be called from
// several goroutines at once.
//
// The layout is that of kernel/bpf/ringbuf.c: a page with the consumer's
// position, a page with the producer's, and the data twice in a row, so that a
// record is always in one piece.
type RingBuffer struct {
	consumer []byte // one page, shared and writable
	rest     []byte // the producer's page and the data, read-only
	data     []byte
	mask     uint64
	next     uint64 // position of the next record to read
}

const (
	ringHeader  = 8
	ringBusy    = 1 << 31
	ringDiscard = 1 << 30
)

// MapRingBuffer maps the ring buffer map fd of size bytes, its max_entries.
func MapRingBuffer(fd int, size int) (*RingBuffer, error) {
	page := os.Getpagesize()
	if size < page || bits.OnesCount(uint(size)) != 1 {
		return nil, fmt.Errorf("sys: ring buffer of %d bytes: the size must be a power of two and at least a page", size)
	}
	consumer, err := unix.Mmap(fd, 0, page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("sys: map the consumer page of a ring buffer: %w", err)
	}
	rest, err := unix.Mmap(fd, int64(page), page+2*size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		_ = unix.Munmap(consumer)
		return nil, fmt.Errorf("sys: map the data of a ring buffer: %w", err)
	}
	r := &RingBuffer{consumer: consumer, rest: rest, data: rest[page:], mask: uint64(size) - 1}
	r.next = atomic.LoadUint64(r.consumed())
	return r, nil
}

// consumed and produced point at page starts, which are aligned.
func (r *RingBuffer) consumed() *uint64 { return (*uint64)(unsafe.Pointer(&r.consumer[0])) }
func (r *RingBuffer) produced() *uint64 { return (*uint64)(unsafe.Pointer(&r.rest[0])) }

// Next returns the next record, or nil when there is none yet: busy then says
// that one has been reserved and is still being written. The record is valid
// until Release.
func (r *RingBuffer) Next() (record []byte, busy bool) {
	for r.next != atomic.LoadUint64(r.produced()) {
		at := r.next & r.mask
		header := atomic.LoadUint32((*uint32)(unsafe.Pointer(&r.data[at]))) // records are 8-byte aligned
		if header&ringBusy != 0 {
			return nil, true
		}
		size := uint64(header &^ (ringBusy | ringDiscard))
		r.next += (ringHeader + size + 7) &^ 7
		if header&ringDiscard == 0 {
			return r.data[at+ringHeader : at+ringHeader+size], false
		}
	}
	return nil, false
}

// Release gives the room of every record returned so far back to the kernel.
func (r *RingBuffer) Release() {
	if c := r.consumed(); *c != r.next { // only this side writes it
		atomic.StoreUint64(c, r.next)
	}
}

// Position returns how far Next has come, and Produced how far the kernel has,
// in bytes since the buffer was made.
func (r *RingBuffer) Position() uint64 { return r.next }

// Produced returns the end of the last record reserved.
func (r *RingBuffer) Produced() uint64 { return atomic.LoadUint64(r.produced()) }

// Close unmaps the buffer. No record may be used after it.
func (r *RingBuffer) Close() error {
	err := unix.Munmap(r.rest)
	if e := unix.Munmap(r.consumer); err == nil {
		err = e
	}
	r.rest, r.consumer, r.data = nil, nil, nil
	return err
}

// SharedWords are 32-bit words at the start of a memory-mapped BPF array, read
// and written by programs in the kernel at the same time.
type SharedWords struct{ mem []byte }

// MapSharedWords maps the first page of the array map fd, which was created
// with BPF_F_MMAPABLE.
func MapSharedWords(fd int) (*SharedWords, error) {
	mem, err := unix.Mmap(fd, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("sys: map a BPF array: %w", err)
	}
	return &SharedWords{mem}, nil
}

func (w *SharedWords) word(i int) *uint32 { return (*uint32)(unsafe.Pointer(&w.mem[4*i : 4*i+4][0])) }

// Load reads word i.
func (w *SharedWords) Load(i int) uint32 { return atomic.LoadUint32(w.word(i)) }

// Store writes word i, and is a full memory barrier.
func (w *SharedWords) Store(i int, v uint32) { atomic.StoreUint32(w.word(i), v) }

// Store64 writes words i, which is even, and i+1 as one number.
func (w *SharedWords) Store64(i int, v uint64) {
	atomic.StoreUint64((*uint64)(unsafe.Pointer(w.word(i))), v)
}

// Close unmaps the words.
func (w *SharedWords) Close() error {
	err := unix.Munmap(w.mem)
	w.mem = nil
	return err
}
