// Package verifier says in a module author's words why the kernel has not loaded a
// program.
package verifier

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/lazyregexp"
)

// Errors of programs that cannot be loaded because of what they are.
var (
	ErrVerify  = errors.New("rejected by the kernel's verifier")
	ErrLacking = errors.New("this kernel does not have what it needs")
)

// Rejection says why a program was not loaded.
type Rejection struct {
	Err  error
	Log  []string // the verifier's last lines
	Hint string   // what to do about it, or ""
}

// logLines is how many of the verifier's last lines are shown. The last ones name
// the instruction and the reason.
const logLines = 8

// functionIn is what the library says of a function that the kernel does not have, or not
// with those types.
var functionIn = lazyregexp.New(`kfunc "(\w+)": (.*)`)

// Explain says what a failed load means. An error that is not about the program stays
// as it is.
func Explain(err error) Rejection {
	if name := functionIn.FindStringSubmatch(err.Error()); name != nil {
		if errors.Is(err, ebpf.ErrNotSupported) {
			return Rejection{
				Err:  fmt.Errorf("%w: the function %s", ErrLacking, name[1]),
				Hint: "declare it __ksym __weak, and call it only if kernel_has_function(" + name[1] + ")",
			}
		}
		return Rejection{
			Err:  fmt.Errorf("%w: the function %s as it is declared: %s", ErrLacking, name[1], name[2]),
			Hint: "declare it with the kernel's types; a struct that it takes has to be defined, with any of its fields",
		}
	}
	if errors.Is(err, asm.ErrUnsatisfiedProgramReference) {
		return Rejection{Err: fmt.Errorf("%w: the field or type that a function begins with", ErrLacking), Hint: NoField}
	}
	if errors.Is(err, unix.EFAULT) { // the library then shows no log
		return Rejection{
			Err: fmt.Errorf("%w: the verifier itself failed (EFAULT)", ErrVerify),
			Hint: "this is a bug of the kernel, which found nothing wrong with the module. It is known to happen for a loop whose end the verifier does not see: give each a constant bound; " +
				"and for a bpf_loop() whose count is 0 because of a parameter: build the module again with the header of this version, or set another value. dmesg may say more",
		}
	}
	var ve *ebpf.VerifierError
	if !errors.As(err, &ve) || outside(err) {
		return Rejection{Err: err}
	}
	return rejected(err, ve.Log)
}

// rejected says why the verifier has rejected a program.
func rejected(err error, log []string) Rejection {
	for len(log) > 0 && isStatistics(log[len(log)-1]) {
		log = log[:len(log)-1]
	}
	r := Rejection{
		Err:  ErrVerify, // the errno behind it is mostly EACCES or EINVAL, and misleads
		Log:  last(log),
		Hint: hintOf(log),
	}
	if errors.Is(err, unix.E2BIG) && len(log) == 0 { // it has more instructions than are looked at
		r.Err = fmt.Errorf("%w: too long (E2BIG)", ErrVerify)
		r.Hint = "the watchers of one event and what they call are one program, of 1,000,000 instructions at most: make functions and loops shorter"
	}
	return r
}

func last(log []string) []string { return log[max(0, len(log)-logLines):] }

// outside reports whether a failed load says nothing about the program, although
// the library shows what the verifier, or the check of types, has logged.
func outside(err error) bool {
	for _, errno := range []error{unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.ENOSYS, unix.EPERM} { // the verifier's own are others
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

func isStatistics(line string) bool {
	for _, prefix := range []string{"processed ", "verification time ", "stack depth ", "insns processed "} {
		if strings.HasPrefix(line, prefix) {
			return true
		}
	}
	return strings.TrimSpace(line) == ""
}

// NoField is the hint about what the library puts in the place of an instruction that uses a
// field which the kernel does not have. That has no name: a function that began with
// it is not found.
const NoField = "this kernel has no such field or type (CO-RE): test with kernel_has() or leave it out"

// otherKindHint is about what is done with a map that it is not for. Since Linux 6.7
// a map without keys is told by the size that a key has.
const otherKindHint = "the function is not for this kind of map: BPF_MAP_TYPE_BLOOM_FILTER has no keys, and is used with bpf_map_push_elem() and bpf_map_peek_elem(); " +
	"of a buffer, its size may be 0 here"

const lockHint = "between bpf_spin_lock() and bpf_spin_unlock() no function is called and none returns; " +
	"what is copied whole, as by NAME_inherit(), must have no lock in it"

// notKnownHint is about a pointer that the verifier does not know the type of, where
// that counts.
const notKnownHint = "the function takes no pointer that was computed, or read with kernel_read(): use the watcher's tsk, and read what it points to as tsk->real_parent"

const indexHint = "an index has no bounds that the verifier can see: make it unsigned, and test it against the size right before"

const stackHint = "the functions use more than 512 bytes of stack together: " +
	"keep buffers in a task_scratch(), or in the task's own storage; per-CPU memory is not safe, because a watcher may be preempted"

// stateIn matches a line that says what the verifier knows, of the source, or of an
// instruction, and not what is wrong.
var stateIn = lazyregexp.New(`^(;|\s*\d+: |\s*from \d+ to \d+|\s*(frame\d+: )?R\d+(_\w+)?=)`)

// hintOf says what the verifier means.
func hintOf(log []string) string {
	reasons := slices.DeleteFunc(slices.Clone(last(log)), stateIn.MatchString)
	tail := strings.Join(reasons, "\n")
	for _, h := range []struct{ says, hint string }{
		{"combined stack size", stackHint},
		{"stack depth", stackHint},
		{"the call stack of", "functions call each other more than 8 deep; recursion is not possible in the kernel"},
		{"recursive call", "recursion is not possible in the kernel: use a loop with a fixed bound"},
		{"too many subprogs", "more than 256 functions on one event: make small ones inline"},
		{"back-edge", "a loop has no bound that the verifier can see (give it a constant one, or use bpf_loop()), or functions call each other in a circle: recursion is not possible in the kernel"},
		{"infinite loop detected", "a loop has no bound that the verifier can see: give it a constant one, or use bpf_loop()"},
		{"BPF program is too large", "the watcher is too long to verify: shorten loops, or use bpf_loop()"},
		{"The sequence of", "there are too many branches at once: shorten loops, or use bpf_loop()"},
		{"map_value_or_null", "what looks up a value (bpf_map_lookup_elem(), NAME_get(), NAME_create(), NAME_claim()) may return NULL: test its result before using it"},
		{"or_null", "a pointer may be NULL here: test it before using it"},
		{"Possibly NULL pointer", "a pointer may be NULL here: test it before using it"},
		{"invalid func unknown#195896080", NoField},
		{"unknown func", "this kernel has no such helper, or not for this kind of program"},
		{"invalid zero-sized read", otherKindHint},
		{"cannot pass map_type", otherKindHint},
		{"program of this type cannot use helper", "this kernel does not allow the helper on this event"},
		{"calling kernel function", "this kernel has the function for other kinds of programs only: leave it out; __weak does not help"},
		{"only read is supported", "a watcher cannot change a task or what belongs to it: keep what you know of it in a task_storage()"},
		{"write into map forbidden", "a parameter, or another constant, is written to: copy it to a variable"},
		{"does not point to a readonly map", "the text to compare with has to be a parameter (module_param_string) or a literal"},
		{"while holding a lock", lockHint},
		{"spin_lock-ed region", lockHint},
		{"bpf_spin_unlock is missing", lockHint},
		{"cannot be accessed directly by load/store", lockHint},
		{"type=scalar expected=", notKnownHint},
		{"must point to scalar", notKnownHint},
		{"must be referenced or trusted", notKnownHint},
		{"must be a rcu pointer", notKnownHint},
		{"invalid mem access 'scalar'", "a plain number was used as a pointer: read kernel memory behind casts with bpf_probe_read_kernel()"},
		{"!read_ok", "a value is used before it was set"},
		{"invalid indirect read from stack", "bytes of a structure on the stack were never set: initialise it whole, padding included"},
		{"Unreleased reference", "something that was acquired or reserved is not released on every path"},
		{"min value is negative", "an index may be negative: make it unsigned and test its upper bound"},
		{"pointer be out of bounds", indexHint},
		{"with unbounded min value", indexHint},
		{"variable-offset", indexHint},
		{"unbounded memory access", "a length has no upper bound that the verifier can see: test it against a constant"},
		{"invalid access to map value", "an access lies outside the map's value: test the index against the size"},
	} {
		if strings.Contains(tail, h.says) {
			return h.hint
		}
	}
	return "the lines above are the kernel's own reason"
}
