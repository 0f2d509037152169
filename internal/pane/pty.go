package pane

import (
	"errors"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// openPTY returns both sides of a new pseudo terminal. That of a program that
// shows it can be closed while it is read or written.
func openPTY() (own, command *os.File, err error) {
	own, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	var number int
	err = control(own, func(fd int) (err error) {
		if err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err == nil {
			number, err = unix.IoctlGetInt(fd, unix.TIOCGPTN)
		}
		return err
	})
	if err == nil {
		command, err = os.OpenFile("/dev/pts/"+strconv.Itoa(number), os.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		return nil, nil, errors.Join(err, own.Close())
	}
	return own, command, nil
}

// control calls fn with the descriptor of a file, which stays one that does not
// block: os.File.Fd would change that.
func control(f *os.File, fn func(fd int) error) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = fn(int(fd)) }); err != nil {
		return err
	}
	return failed
}
