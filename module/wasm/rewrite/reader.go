package rewrite

import (
	"bytes"
	"strconv"
	"unicode/utf8"
)

// reader reads the binary format of WebAssembly. The first error sticks, and
// what is read after it is zero.
type reader struct {
	b   []byte
	off int
	err error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = invalid(format, args...)
	}
	r.off = len(r.b)
}

func (r *reader) more() bool { return r.err == nil && r.off < len(r.b) }

func (r *reader) byte() byte {
	if r.off >= len(r.b) {
		r.fail("truncated module")
		return 0
	}
	r.off++
	return r.b[r.off-1]
}

func (r *reader) bytes(n uint32) []byte {
	if uint64(n) > uint64(len(r.b)-r.off) {
		r.fail("truncated module")
		return nil
	}
	r.off += int(n)
	return r.b[r.off-int(n) : r.off]
}

// skipLEB passes over a number in LEB128 of at most so many bytes.
func (r *reader) skipLEB(most int) {
	for range most {
		if r.byte()&0x80 == 0 {
			return
		}
	}
	r.fail("malformed module: a number of more than %d bytes", most)
}

// u32 reads an unsigned number in LEB128.
func (r *reader) u32() uint32 {
	var v uint64
	for shift := 0; shift < 35; shift += 7 {
		b := r.byte()
		v |= uint64(b&0x7f) << shift
		if b&0x80 == 0 {
			if v > 1<<32-1 {
				break
			}
			return uint32(v)
		}
	}
	r.fail("malformed module: a number of more than 32 bits")
	return 0
}

// count reads the number of items that follow, each of at least one byte.
func (r *reader) count() int {
	n := r.u32()
	if uint64(n) > uint64(len(r.b)-r.off) {
		r.fail("truncated module")
		return 0
	}
	if n > maxItems {
		r.fail("it has a list of %d, which may have %d", n, maxItems)
		return 0
	}
	return int(n)
}

func (r *reader) name() string {
	b := r.bytes(r.u32())
	if !utf8.Valid(b) {
		r.fail("malformed module: name %q is not UTF-8", b)
	}
	if bytes.ContainsFunc(b, func(c rune) bool { return !strconv.IsPrint(c) }) {
		r.fail("the name %q does not print", b) // it is shown before anybody trusts it
	}
	return string(b)
}

// appendU32 appends v in LEB128.
func appendU32(b []byte, v uint32) []byte {
	for v >= 0x80 {
		b = append(b, byte(v)|0x80)
		v >>= 7
	}
	return append(b, byte(v))
}

// appendI32 appends v in signed LEB128.
func appendI32(b []byte, v int32) []byte {
	for v >= 0x40 || v < -0x40 {
		b = append(b, byte(v)|0x80)
		v >>= 7
	}
	return append(b, byte(v)&0x7f)
}
