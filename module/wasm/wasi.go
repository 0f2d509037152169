package wasm

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"strings"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/sys"

	"github.com/taskwatch/taskwatch/module/wasm/rewrite"
)

// wasiModule is the name under which the libraries of languages import what
// they need of a system.
const wasiModule = "wasi_snapshot_preview1"

// wasiErrno are error numbers of WASI.
type wasiErrno uint32

const (
	wasiOK     wasiErrno = 0
	wasiBadFD  wasiErrno = 8
	wasiFault  wasiErrno = 21
	wasiIntr   wasiErrno = 27
	wasiInval  wasiErrno = 28
	wasiNoSys  wasiErrno = 52
	wasiIsPipe wasiErrno = 70 // it cannot be sought in
)

// What one call of WASI does at most. What is asked for beyond that is left
// to the next call, or fails.
const (
	maxVectors       = 64
	maxWrite         = 64 << 10
	maxRandom        = 64 << 10 // between two looks at the stop flag
	maxSubscriptions = 64
)

// wasiCall is one function of WASI. Its arguments are as they are passed.
type wasiCall struct {
	typ rewrite.FuncType
	fn  func(h *host, mod api.Module, args []uint64) wasiErrno // nil: ENOSYS
}

// wasi is all of preview 1. What there is no function for fails with ENOSYS:
// there are no files, no sockets and no signals.
var wasi = map[string]wasiCall{
	"args_get":          {"i,i>i", (*host).wasiNothing},
	"args_sizes_get":    {"i,i>i", (*host).wasiNoSizes},
	"environ_get":       {"i,i>i", (*host).wasiNothing},
	"environ_sizes_get": {"i,i>i", (*host).wasiNoSizes},
	"clock_res_get":     {"i,i>i", (*host).wasiClockRes},
	"clock_time_get":    {"i,I,i>i", (*host).wasiClockTime},
	"random_get":        {"i,i>i", (*host).wasiRandom},
	"poll_oneoff":       {"i,i,i,i>i", (*host).wasiPoll},
	"sched_yield":       {">i", (*host).wasiNothing},
	"proc_exit":         {"i>", (*host).wasiExit},

	"fd_close":            {"i>i", (*host).wasiStd},
	"fd_fdstat_get":       {"i,i>i", (*host).wasiFDStat},
	"fd_fdstat_set_flags": {"i,i>i", (*host).wasiStd},
	"fd_prestat_get":      {"i,i>i", (*host).wasiNoFile},
	"fd_prestat_dir_name": {"i,i,i>i", (*host).wasiNoFile},
	"fd_read":             {"i,i,i,i>i", (*host).wasiRead},
	"fd_seek":             {"i,I,i,i>i", (*host).wasiSeek},
	"fd_write":            {"i,i,i,i>i", (*host).wasiWrite},

	"fd_advise":               {"i,I,I,i>i", nil},
	"fd_allocate":             {"i,I,I>i", nil},
	"fd_datasync":             {"i>i", nil},
	"fd_fdstat_set_rights":    {"i,I,I>i", nil},
	"fd_filestat_get":         {"i,i>i", nil},
	"fd_filestat_set_size":    {"i,I>i", nil},
	"fd_filestat_set_times":   {"i,I,I,i>i", nil},
	"fd_pread":                {"i,i,i,I,i>i", nil},
	"fd_pwrite":               {"i,i,i,I,i>i", nil},
	"fd_readdir":              {"i,i,i,I,i>i", nil},
	"fd_renumber":             {"i,i>i", nil},
	"fd_sync":                 {"i>i", nil},
	"fd_tell":                 {"i,i>i", nil},
	"path_create_directory":   {"i,i,i>i", nil},
	"path_filestat_get":       {"i,i,i,i,i>i", nil},
	"path_filestat_set_times": {"i,i,i,i,I,I,i>i", nil},
	"path_link":               {"i,i,i,i,i,i,i>i", nil},
	"path_open":               {"i,i,i,i,i,I,I,i,i>i", nil},
	"path_readlink":           {"i,i,i,i,i,i>i", nil},
	"path_remove_directory":   {"i,i,i>i", nil},
	"path_rename":             {"i,i,i,i,i,i>i", nil},
	"path_symlink":            {"i,i,i,i,i>i", nil},
	"path_unlink_file":        {"i,i,i>i", nil},
	"proc_raise":              {"i>i", nil},
	"sock_accept":             {"i,i,i>i", nil},
	"sock_recv":               {"i,i,i,i,i,i>i", nil},
	"sock_send":               {"i,i,i,i,i>i", nil},
	"sock_shutdown":           {"i,i>i", nil},
}

// checkWASI checks an import from WASI. One that is unknown is taken where it
// can return that it is not there.
func checkWASI(imp *rewrite.Import) error {
	known, ok := wasi[imp.Name]
	switch {
	case ok && imp.Type != known.typ:
		return invalid("it imports %s.%s as %s, but its type is %s", imp.Module, imp.Name, imp.Type, known.typ)
	case !ok && !strings.HasSuffix(string(imp.Type), ">i"):
		return invalid("it imports %s.%s as %s, which the sandbox does not have, and which could not return an error", imp.Module, imp.Name, imp.Type)
	}
	return nil
}

// defineWASI gives the runtime those functions that are imported.
func (h *host) defineWASI(rt wazero.Runtime, imports []rewrite.Import) error {
	b := rt.NewHostModuleBuilder(wasiModule)
	n := 0
	for _, imp := range imports {
		if imp.Module != wasiModule {
			continue
		}
		n++
		params, results := values(imp.Type)
		call := wasi[imp.Name]
		b.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(func(_ context.Context, mod api.Module, stack []uint64) {
			errno := wasiNoSys
			if call.fn != nil {
				errno = call.fn(h, mod, stack)
			}
			if len(results) > 0 {
				stack[0] = uint64(errno)
			}
		}), params, results).Export(imp.Name)
	}
	if n == 0 {
		return nil
	}
	_, err := b.Instantiate(background)
	return err
}

func putU32(mod api.Module, at uint64, v uint32) wasiErrno {
	if !mod.Memory().WriteUint32Le(uint32(at), v) {
		return wasiFault
	}
	return wasiOK
}

func putU64(mod api.Module, at uint64, v uint64) wasiErrno {
	if !mod.Memory().WriteUint64Le(uint32(at), v) {
		return wasiFault
	}
	return wasiOK
}

func (h *host) wasiNothing(api.Module, []uint64) wasiErrno { return wasiOK }

// wasiNoSizes says that there are no arguments, and no environment.
func (h *host) wasiNoSizes(mod api.Module, args []uint64) wasiErrno {
	if errno := putU32(mod, args[0], 0); errno != wasiOK {
		return errno
	}
	return putU32(mod, args[1], 0)
}

// began is what the clocks that have no date count from.
var began = time.Now()

// clock reads a clock: 0 is that of the wall, 1 to 3 are monotonic.
func clock(id uint64) (ns uint64, ok bool) {
	switch uint32(id) {
	case 0:
		return uint64(time.Now().UnixNano()), true
	case 1, 2, 3:
		return uint64(time.Since(began)) + 1, true
	}
	return 0, false
}

func (h *host) wasiClockRes(mod api.Module, args []uint64) wasiErrno {
	if _, ok := clock(args[0]); !ok {
		return wasiInval
	}
	return putU64(mod, args[1], 1)
}

func (h *host) wasiClockTime(mod api.Module, args []uint64) wasiErrno {
	now, ok := clock(args[0])
	if !ok {
		return wasiInval
	}
	return putU64(mod, args[2], now)
}

// wasiRandom fills a buffer, and stops where the module is to.
func (h *host) wasiRandom(mod api.Module, args []uint64) wasiErrno {
	b, ok := mod.Memory().Read(uint32(args[0]), uint32(args[1]))
	if !ok {
		return wasiFault
	}
	for len(b) > 0 {
		if h.dog.stopping() {
			return wasiIntr
		}
		n := min(len(b), maxRandom)
		_, _ = rand.Read(b[:n]) // it never fails
		b = b[n:]
	}
	return wasiOK
}

// wasiExit ends the module, with a trap.
func (h *host) wasiExit(mod api.Module, args []uint64) wasiErrno {
	code := uint32(args[0])
	_ = mod.CloseWithExitCode(background, code)
	panic(sys.NewExitError(code))
}

// wasiStd is what can be done with the standard files, and has no effect.
func (h *host) wasiStd(_ api.Module, args []uint64) wasiErrno {
	if uint32(args[0]) > 2 {
		return wasiBadFD
	}
	return wasiOK
}

func (h *host) wasiNoFile(api.Module, []uint64) wasiErrno { return wasiBadFD }

func (h *host) wasiSeek(_ api.Module, args []uint64) wasiErrno {
	if uint32(args[0]) > 2 {
		return wasiBadFD
	}
	return wasiIsPipe
}

// wasiFDStat says that the standard files are terminals, so that lines are
// written one by one.
func (h *host) wasiFDStat(mod api.Module, args []uint64) wasiErrno {
	if uint32(args[0]) > 2 {
		return wasiBadFD
	}
	const (
		characterDevice = 2
		readWrite       = 1<<1 | 1<<6
	)
	var b [24]byte
	b[0] = characterDevice
	binary.LittleEndian.PutUint64(b[8:], readWrite)
	if !mod.Memory().Write(uint32(args[1]), b[:]) {
		return wasiFault
	}
	return wasiOK
}

// wasiRead finds nothing to read.
func (h *host) wasiRead(mod api.Module, args []uint64) wasiErrno {
	if uint32(args[0]) != 0 {
		return wasiBadFD
	}
	return putU32(mod, args[3], 0)
}

// wasiWrite writes to the log, as much as one call may; what is left comes
// with the next.
func (h *host) wasiWrite(mod api.Module, args []uint64) wasiErrno {
	w := &h.stdout
	switch uint32(args[0]) {
	case 1:
	case 2:
		w = &h.stderr
	default:
		return wasiBadFD
	}
	n := min(uint32(args[2]), maxVectors)
	vectors, ok := mod.Memory().Read(uint32(args[1]), n*8)
	if !ok {
		return wasiFault
	}
	var written uint32
	for ; len(vectors) > 0 && written < maxWrite && !h.dog.stopping(); vectors = vectors[8:] {
		size := binary.LittleEndian.Uint32(vectors[4:])
		b, ok := mod.Memory().Read(binary.LittleEndian.Uint32(vectors), min(size, maxWrite-written))
		if !ok {
			return wasiFault
		}
		_, _ = w.Write(b) // it never fails
		written += uint32(len(b))
		if uint32(len(b)) < size {
			break
		}
	}
	return putU32(mod, args[3], written)
}
