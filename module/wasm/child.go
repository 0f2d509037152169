package wasm

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

// What a process that compiles may use.
const (
	compileMemory = 4 << 30 // bytes of address space, of which Go takes more than one GiB for nothing
	compileTime   = 60      // seconds of CPU
	maxComplaint  = 4 << 10
)

// CompileBy returns a [Parser.Compile] that runs a program, to which the
// directory is one more argument and the code standard input. The program has
// to call [CompileChild].
func CompileBy(program string, args ...string) func(ctx context.Context, dir string, code []byte) error {
	return func(ctx context.Context, dir string, code []byte) error {
		cmd := exec.CommandContext(ctx, program)
		cmd.Args = append(append([]string{}, args...), dir)
		cmd.Env = []string{"GOTRACEBACK=none"}
		cmd.Stdin = bytes.NewReader(code)
		var complaint bytes.Buffer
		cmd.Stderr = &complaint
		cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL, Setpgid: true}
		err := cmd.Run()
		if err == nil {
			return nil
		}
		text := strings.ToValidUTF8(string(complaint.Bytes()[:min(complaint.Len(), maxComplaint)]), "?")
		if line, _, _ := strings.Cut(text, "\n"); line != "" {
			return invalid("compiling it failed: %s", strings.TrimPrefix(line, "invalid: "))
		}
		return invalid("compiling it failed: %w: it may take %d s of CPU and %d MiB", err, compileTime, compileMemory>>20)
	}
}

// CompileChild compiles what comes by r into a directory, in a process that
// is there for this alone: it limits itself first.
func CompileChild(r io.Reader, dir string) error {
	for resource, most := range map[int]uint64{unix.RLIMIT_CPU: compileTime, unix.RLIMIT_AS: compileMemory, unix.RLIMIT_CORE: 0} {
		if err := unix.Setrlimit(resource, &unix.Rlimit{Cur: most, Max: most}); err != nil {
			return fmt.Errorf("limiting the compiler: %w", err)
		}
	}
	code, err := io.ReadAll(io.LimitReader(r, 8*MaxModuleSize))
	if err != nil {
		return err
	}
	return compileInto(dir, code)
}
