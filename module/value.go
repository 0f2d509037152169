package module

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// MaxGlobals is the largest size in bytes of a module's variables that can be
// read: as values in Go and in JSON they take many times as much.
const MaxGlobals = 256 << 10

// ErrTooLarge says that a module has more variables than can be read.
var ErrTooLarge = errors.New("too large to be read")

// Int is how the bytes of an integer variable are to be taken.
type Int struct {
	Order  binary.ByteOrder
	Signed bool
	Bool   bool
}

// Read returns the value in b, which is 1, 2, 4 or 8 bytes, as int64, uint64
// or bool. Bytes of another length come in hexadecimal.
func (i Int) Read(b []byte) any {
	var v uint64
	switch len(b) {
	case 1:
		v = uint64(b[0])
	case 2:
		v = uint64(i.Order.Uint16(b))
	case 4:
		v = uint64(i.Order.Uint32(b))
	case 8:
		v = i.Order.Uint64(b)
	default:
		return fmt.Sprintf("0x%x", b)
	}
	switch {
	case i.Bool:
		return v != 0
	case i.Signed:
		shift := 64 - 8*len(b)
		return int64(v<<shift) >> shift
	}
	return v
}

// Write puts the value that text stands for into b, which is 1, 2, 4 or 8
// bytes. Numbers are as in Go and C (0x10), booleans as for the kernel.
func (i Int) Write(b []byte, text string) error {
	switch len(b) {
	case 1, 2, 4, 8:
	default:
		return fmt.Errorf("integers of %d bytes cannot be set", len(b))
	}
	var v uint64
	var err error
	switch {
	case i.Bool:
		switch text { // as the kernel's kstrtobool
		case "1", "y", "Y", "yes", "on", "true":
			v = 1
		case "0", "n", "N", "no", "off", "false":
		default:
			return errors.New("want yes or no")
		}
	case i.Signed:
		var n int64
		n, err = strconv.ParseInt(text, 0, 8*len(b))
		v = uint64(n)
	default:
		v, err = strconv.ParseUint(text, 0, 8*len(b))
	}
	if err != nil {
		return fmt.Errorf("want a number from %s", i.span(len(b)))
	}
	switch len(b) {
	case 1:
		b[0] = byte(v)
	case 2:
		i.Order.PutUint16(b, uint16(v))
	case 4:
		i.Order.PutUint32(b, uint32(v))
	case 8:
		i.Order.PutUint64(b, v)
	}
	return nil
}

// span returns the least and the largest number of so many bytes.
func (i Int) span(size int) string {
	most := ^uint64(0) >> (64 - 8*size)
	if i.Signed {
		return fmt.Sprintf("-%d to %d", most/2+1, most/2)
	}
	return fmt.Sprintf("0 to %d", most)
}

// WriteString puts text and a NUL into b, and zeros behind them.
func WriteString(b []byte, text string) error {
	if len(text) >= len(b) {
		return fmt.Errorf("it has %d bytes, but there is room for %d", len(text), len(b)-1)
	}
	if strings.IndexByte(text, 0) >= 0 {
		return errors.New("it has a NUL byte")
	}
	clear(b[copy(b, text):])
	return nil
}
