package guest

import "unsafe"

//go:wasmimport taskwatch task_field
func importField(field, index uint32, buf unsafe.Pointer, size uint32) int32

//go:wasmimport taskwatch log
func importLog(level uint32, text unsafe.Pointer, n uint32)

//go:wasmimport taskwatch emit
func importEmit(record unsafe.Pointer, n uint32) int32

func hostField(field, index uint32, buf []byte) int32 {
	return importField(field, index, unsafe.Pointer(unsafe.SliceData(buf)), uint32(len(buf)))
}

func hostLog(level uint32, text string) {
	importLog(level, unsafe.Pointer(unsafe.StringData(text)), uint32(len(text)))
}

func hostEmit(record []byte) int32 {
	return importEmit(unsafe.Pointer(unsafe.SliceData(record)), uint32(len(record)))
}

// The version of the interface between host and module.
//
//go:wasmexport __task_watchers_abi
func exportABI() uint32 { return 1 }

//go:wasmexport __task_watchers_info
func exportInfo() uint64 { return span(unsafe.Pointer(unsafe.SliceData(about)), len(about)) }

// hostVariable is how the host reads a variable.
type hostVariable struct {
	name, nameLen, help, helpLen, typ, param, address, count uint32
}

// hostVariables stays reachable: the host reads it after the call.
var hostVariables []hostVariable

//go:wasmexport __task_watchers_vars
func exportVars() uint64 {
	hostVariables = nil
	for _, v := range variables {
		e := hostVariable{
			name: at(unsafe.Pointer(unsafe.StringData(v.name))), nameLen: uint32(len(v.name)),
			help: at(unsafe.Pointer(unsafe.StringData(v.help))), helpLen: uint32(len(v.help)),
			typ: v.typ, address: at(v.address), count: uint32(v.count),
		}
		if v.param {
			e.param = 1
		}
		hostVariables = append(hostVariables, e)
	}
	return span(unsafe.Pointer(unsafe.SliceData(hostVariables)), len(hostVariables))
}

// exportTask returns where the host is to write its records, of so many bytes.
//
//go:wasmexport __task_watchers_task
func exportTask(size uint32) uint32 {
	if size != recordSize {
		return 0
	}
	return at(unsafe.Pointer(&current))
}

func at(p unsafe.Pointer) uint32 { return uint32(uintptr(p)) }

// span is an address and a number in one.
func span(p unsafe.Pointer, n int) uint64 { return uint64(at(p))<<32 | uint64(n) }
