//go:build !wasip1

package guest

import (
	"unsafe"

	"github.com/taskwatch/taskwatch/guest/internal/bridge"
)

func hostField(field, index uint32, buf []byte) int32 {
	s, errno := bridge.Current.Field(field, index)
	if errno != 0 {
		return errno
	}
	copy(buf, s)
	return int32(len(s))
}

func hostLog(level uint32, text string) { bridge.Current.Log(level, text) }

func hostEmit(record []byte) int32 { return bridge.Current.Emit(record) }

func init() {
	bridge.Record = unsafe.Slice((*byte)(unsafe.Pointer(&current)), recordSize)
	bridge.Unread = func() uint64 { return uint64(unread) }
	bridge.Vars = func() (list []bridge.Var) {
		for _, v := range variables {
			list = append(list, bridge.Var{Name: v.name, Type: v.typ, Param: v.param, Address: v.address, Count: v.count})
		}
		return list
	}
}
