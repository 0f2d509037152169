package outside

import "unsafe"

// hostMap is how the host reads a Map.
type hostMap struct {
	name, nameLen, kind, size, room, typ, typLen, own uint32
}

// table stays reachable: the host reads it after the call.
var table []hostMap

//go:wasmexport __task_watchers_maps
func exportMaps() uint64 {
	table = nil
	for _, m := range Maps {
		table = append(table, hostMap{
			name: at(unsafe.Pointer(unsafe.StringData(m.Name))), nameLen: uint32(len(m.Name)), kind: uint32(m.Kind), size: uint32(m.Size),
			typ: at(unsafe.Pointer(unsafe.StringData(m.Type))), typLen: uint32(len(m.Type)),
		})
	}
	return uint64(at(unsafe.Pointer(unsafe.SliceData(table))))<<32 | uint64(len(table))
}

// What the host asks for, and what it gets where there is no such value.
const (
	opFind   = 0 // the address of the value
	opRenew  = 1
	opDelete = 2
	opExpect = 3

	enoent = -2
)

//go:wasmexport __task_watchers_map
func exportMap(index, op uint32, run, n uint64) int32 {
	m, id := &Maps[index], ID{run, n}
	p := m.Find(id)
	switch op {
	case opRenew:
		p = m.Renew(id)
	case opExpect:
		p = m.Expect(id)
	}
	switch {
	case p == nil:
		return enoent
	case op == opDelete:
		m.Delete(id)
		return 0
	}
	return int32(at(p))
}

func at(p unsafe.Pointer) uint32 { return uint32(uintptr(p)) }
