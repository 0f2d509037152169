package wasm

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
	"github.com/tetratelabs/wazero/sys"

	"github.com/taskwatch/taskwatch/internal/wire"
	"github.com/taskwatch/taskwatch/module/wasm/rewrite"
)

// background is the context of every call. It never ends: see watchdog.
var background = context.Background()

// coreFeatures are those whose instructions package rewrite knows.
const coreFeatures = api.CoreFeatureBulkMemoryOperations | api.CoreFeatureMultiValue | api.CoreFeatureMutableGlobal |
	api.CoreFeatureNonTrappingFloatToIntConversion | api.CoreFeatureReferenceTypes | api.CoreFeatureSignExtensionOps

// sandbox is compiled code and what it may reach of the host. It makes
// instances, of which one at a time lives. Its methods are called by one
// goroutine at a time.
type sandbox struct {
	rt       wazero.Runtime
	compiled wazero.CompiledModule
	dog      watchdog
	host     host

	cancelled atomic.Bool
}

// instance is a running module with a memory of its own.
type instance struct {
	mod    api.Module
	memory api.Memory
	stop   api.MutableGlobal
	record uint32 // the address of the task record
	size   uint32 // of it, as the module knows it
	fns    [numLists][]api.Function

	storages api.Function // exportMap, or nil
}

// newSandbox compiles the object's code. The cache of the object makes all but
// the first time cheap.
func newSandbox(o *Object, memory int64, deadline time.Duration) (*sandbox, error) {
	pages := uint32((memory + pageSize - 1) / pageSize)
	if need := o.binary.Memory.Min; need > pages {
		return nil, invalid("it begins with %d KiB of memory, but may have only %d KiB", need*(pageSize>>10), pages*(pageSize>>10))
	}
	s := &sandbox{}
	s.rt = wazero.NewRuntimeWithConfig(background, runtimeConfig().
		WithCompilationCache(o.cache).
		WithMemoryLimitPages(pages))
	err := s.build(o)
	if err != nil {
		_ = s.rt.Close(background)
		return nil, err
	}
	s.dog.start(deadline)
	return s, nil
}

// runtimeConfig and compileContext are the same wherever code is compiled: a
// cache holds what was compiled with both.
func runtimeConfig() wazero.RuntimeConfig {
	return wazero.NewRuntimeConfig().WithCoreFeatures(coreFeatures)
}

func compileContext() context.Context {
	return experimental.WithCompilationWorkers(background, runtime.GOMAXPROCS(0))
}

func (s *sandbox) build(o *Object) (err error) {
	if s.compiled, err = s.rt.CompileModule(compileContext(), o.code); err != nil {
		return invalid("malformed module: %w", err)
	}
	if err := s.host.define(s.rt, &s.dog); err != nil {
		return err
	}
	return s.host.defineWASI(s.rt, o.binary.Imports)
}

// close ends everything. No call may be running.
func (s *sandbox) close() error {
	s.dog.stop()
	return s.rt.Close(background)
}

// instantiate makes an instance, has it initialise itself, and puts these
// values into its memory.
func (s *sandbox) instantiate(o *Object, params map[uint32][]byte) (*instance, error) {
	inst, err := s.begin()
	if err != nil {
		return nil, err
	}
	if err := s.initialize(o, inst, params); err != nil {
		_ = inst.mod.Close(background)
		return nil, err
	}
	return inst, nil
}

// cancel has what starts an instance end soon, or not any more. It may be
// called beside it.
func (s *sandbox) cancel(on bool) {
	s.cancelled.Store(on)
	if on {
		s.dog.stopNow()
	}
}

// begin makes an instance of which nothing has run.
func (s *sandbox) begin() (*instance, error) {
	mod, err := s.rt.InstantiateModule(background, s.compiled, wazero.NewModuleConfig().
		WithName(""). // so that there may be several
		WithStartFunctions())
	if err != nil {
		return nil, invalid("%s", firstLine(err))
	}
	inst := &instance{mod: mod, memory: mod.Memory()}
	inst.stop = mod.ExportedGlobal(rewrite.StopGlobal).(api.MutableGlobal)
	s.dog.target.Store(inst)
	return inst, nil
}

func (s *sandbox) initialize(o *Object, inst *instance, params map[uint32][]byte) error {
	if _, err := s.call(inst, "_initialize"); err != nil {
		return err
	}
	abi, err := s.call(inst, exportABI)
	if err != nil {
		return err
	}
	if uint32(abi) != wire.ABI {
		return hinted{invalid("%w: it was built for version %d of the interface, but this program has version %d", ErrABI, uint32(abi), wire.ABI),
			"build it again, with 'taskwatch module build' of this program"}
	}
	// The module has room for the record of its day.
	for _, size := range wire.Sizes {
		record, err := s.call(inst, exportTask, uint64(size))
		if err != nil {
			return err
		}
		if inst.record, inst.size = uint32(record), uint32(size); inst.record != 0 {
			break
		}
	}
	if _, ok := inst.memory.Read(inst.record, inst.size); inst.record == 0 || !ok {
		return invalid("%s(%d) returned %#x, but its memory has no such room there", exportTask, inst.size, inst.record)
	}
	for address, b := range params {
		if !inst.memory.Write(address, b) {
			return invalid("a parameter is no longer in its memory")
		}
	}
	inst.storages = inst.mod.ExportedFunction(exportMap)
	for l := range numLists {
		for _, fn := range *o.list(l) {
			inst.fns[l] = append(inst.fns[l], inst.mod.ExportedFunction(watcherPrefix+l.String()+"_"+fn))
		}
	}
	return nil
}

// call calls an export that is no watcher. One that does not exist returns 0.
func (s *sandbox) call(inst *instance, name string, args ...uint64) (uint64, error) {
	fn := inst.mod.ExportedFunction(name)
	if fn == nil {
		return 0, nil
	}
	s.host.begin(nil)
	s.dog.arm(starting)
	if s.cancelled.Load() {
		s.dog.stopNow()
	}
	results, err := fn.Call(background, args...)
	late := s.dog.disarm()
	if err != nil || late {
		return 0, fmt.Errorf("%s: %w", name, crash(err, late, s.dog.limitOf(starting)))
	}
	if len(results) == 0 {
		return 0, nil
	}
	return results[0], nil
}

// crash returns in short why a call did not return.
func crash(err error, late bool, limit time.Duration) error {
	var exit *sys.ExitError
	switch {
	case late:
		return fmt.Errorf("%w: it took more than %v", ErrDeadline, limit)
	case errors.As(err, &exit):
		return fmt.Errorf("%w: it exited with status %d", ErrTrap, exit.ExitCode())
	}
	return fmt.Errorf("%w: %s", ErrTrap, strings.TrimPrefix(firstLine(err), "wasm error: "))
}

// firstLine returns the text of an error without the stack of the module.
func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return strings.TrimSuffix(line, " (recovered by wazero)")
}
