package starter

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/procfs"
)

// flags of struct orders in c/starter.c.
const (
	stopMaker = 1 << iota
	stop
	die
	session
	subreaperFlag
)

// The sizes of struct orders in c/starter.c.
const (
	pathSize  = 4096
	maxFilter = 512
	maxErrno  = 200 // of an exec, as an exit status
)

// orders are what the first stage does, as they stand in its image.
type orders struct {
	Mark                          [16]byte
	Flags, Parent, Filters, Death uint32
	Mask                          uint64
	Timers                        [3]unix.Itimerval
	Path                          [pathSize]byte
	Filter                        [maxFilter]unix.SockFilter
}

var mark = [16]byte([]byte("taskwatch orders"))

// image returns the first stage with its orders.
func image(o *orders) ([]byte, error) {
	o.Mark = mark
	at := bytes.Index(program, mark[:])
	if at < 0 || at+binary.Size(o) > len(program) {
		return nil, errors.New("the first stage has no place for its orders: it was not made by go generate")
	}
	b := bytes.Clone(program)
	if _, err := binary.Encode(b[at:], binary.LittleEndian, o); err != nil {
		return nil, err
	}
	return b, nil
}

// run starts an image, kept in memory, or in a file without a name where the
// machine runs none from memory.
func run(b []byte, argv []string, attr *syscall.ProcAttr) (pid int, err error) {
	pid, err = runFile(inMemory, b, argv, attr)
	if errors.Is(err, errNoFile) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) {
		var again error
		if pid, again = runFile(inDirectory, b, argv, attr); again == nil {
			return pid, nil
		}
		return 0, fmt.Errorf("from memory: %w; from %s: %w", err, os.TempDir(), again)
	}
	return pid, err
}

var errNoFile = errors.New("no file to run")

func runFile(file func([]byte) (*os.File, error), b []byte, argv []string, attr *syscall.ProcAttr) (int, error) {
	f, err := file(b)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", errNoFile, err)
	}
	defer f.Close()
	return syscall.ForkExec(procfs.FDPath(int(f.Fd())), argv, attr)
}

// inMemory needs Linux 6.3 to say that the file is a program (MFD_EXEC), which
// it is without a word before.
func inMemory(b []byte) (*os.File, error) {
	const name = "taskwatch-starter"
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) {
		fd, err = unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	}
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), name)
	if _, err := f.Write(b); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

func inDirectory(b []byte) (*os.File, error) {
	f, err := os.CreateTemp("", "taskwatch-starter")
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	if err := errors.Join(err, f.Chmod(0o500), f.Close()); err != nil {
		return nil, err
	}
	return os.Open(f.Name())
}
