package cnproc

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/procfs"
	"github.com/taskwatch/taskwatch/internal/sys"
)

// Operations of a request (enum proc_cn_mcast_op).
const (
	listen = 1
	ignore = 2
)

// Errors of Open, to be found with errors.Is.
var (
	// errPermission says that the kernel lets only the privileged subscribe.
	errPermission = errors.New("not permitted: it needs CAP_NET_ADMIN, or Linux 6.6 or newer, where every user may subscribe")

	// errNamespace says that the kernel's connector is in another network.
	errNamespace = errors.New("this process is in its own network namespace, but the kernel's connector is in the first one: run it there (docker, podman: --network=host; otherwise: nsenter -t 1 -n)")

	// errSilent says that the subscription was not answered, as in namespaces of
	// users or pids.
	errSilent = errors.New("the kernel does not answer: the connector serves only the initial user and pid namespaces, so run it on the host and not in a container (--pid=host --userns=host)")

	// ErrMissing says that the kernel was built without it.
	ErrMissing = errors.New("the kernel has no process connector: it needs CONFIG_CONNECTOR=y and CONFIG_PROC_EVENTS=y")

	// errDenied says that there is no socket to be had.
	errDenied = errors.New("a netlink socket is denied to this process: a seccomp filter (of a container or a service) may do so; allow it (systemd: RestrictAddressFamilies=AF_NETLINK; docker, podman: --security-opt seccomp=PROFILE or unconfined)")
)

// ErrOverrun is what Receive returns where the socket's buffer was full and
// messages were lost. What is in the buffer can still be received.
var ErrOverrun error = unix.ENOBUFS

// Conn is a socket that is subscribed to the connector.
//
// Receive may be called from several goroutines at once; each message goes to
// one of them, and the order of messages is kept only as far as the callers
// take turns.
type Conn struct {
	nl  *netlink.Conn
	raw syscall.RawConn

	mu    sync.Mutex // guards batch, and keeps the order of messages
	batch *sys.NetlinkBatch
	bytes int
}

// answerTime bounds the wait for the kernel's answer, which it sends
// from inside the request's system call.
const answerTime = 2 * time.Second

// Open subscribes. The socket's buffer gets bufferSize bytes if this process
// has CAP_NET_ADMIN, else what net.core.rmem_max allows: see BufferSize.
func Open(bufferSize int) (*Conn, error) {
	nl, err := netlink.Dial(unix.NETLINK_CONNECTOR, &netlink.Config{Groups: idxProc})
	var failed *os.SyscallError
	errors.As(err, &failed)
	switch {
	case errors.Is(err, unix.EPROTONOSUPPORT):
		return nil, fmt.Errorf("connector: %w", ErrMissing)
	case failed != nil && (failed.Syscall == "socket" || errors.Is(err, unix.EPERM) && isAdmin()): // the kernel alone denies neither
		return nil, fmt.Errorf("connector: %w (%w)", errDenied, failed.Err)
	case errors.Is(err, unix.EPERM):
		return nil, fmt.Errorf("connector: %w", errPermission)
	case err != nil:
		return nil, fmt.Errorf("connector: open a socket: %w", err)
	}
	c := &Conn{nl: nl, batch: sys.NewNetlinkBatch(64, MaxMessage)}
	if err := c.subscribe(bufferSize); err != nil {
		nl.Close()
		return nil, fmt.Errorf("connector: subscribe: %w", err)
	}
	return c, nil
}

func (c *Conn) subscribe(bufferSize int) error {
	var err error
	if c.raw, err = c.nl.SyscallConn(); err != nil {
		return err
	}
	number := rand.Uint32()
	if err := c.send(number, listen); err != nil {
		if errors.Is(err, unix.ECONNREFUSED) {
			return errNamespace // a kernel without a connector has no such socket
		}
		return err
	}
	if err := c.await(number); err != nil {
		return err
	}
	// Not before: in a small buffer the answer might be lost.
	if err := c.nl.SetReadBuffer(bufferSize); err != nil {
		return fmt.Errorf("set the buffer's size: %w", err)
	}
	// The kernel counts its own overhead in and says twice what was asked.
	size, err := c.nl.ReadBuffer()
	if err != nil {
		return fmt.Errorf("get the buffer's size: %w", err)
	}
	c.bytes = size / 2
	return nil
}

func (c *Conn) send(number, op uint32) error {
	_, err := c.nl.Send(netlink.Message{
		Header: netlink.Header{Type: unix.NLMSG_DONE},
		Data:   request(number, op),
	})
	return err
}

// await receives until the answer to a request. What comes before it is not
// wanted: watching has not begun.
func (c *Conn) await(number uint32) error {
	if err := c.nl.SetReadDeadline(time.Now().Add(answerTime)); err != nil {
		return err
	}
	for {
		var answer error
		answered := false
		err := c.Receive(true, func(r *Record) {
			if r.What != Answer || r.Ack != number+1 || answered {
				return
			}
			answered = true
			if errno := unix.Errno(r.Code); errno == unix.EPERM {
				answer = errPermission
			} else if errno != 0 {
				answer = errno
			}
		})
		switch {
		case answered:
			if err := c.nl.SetReadDeadline(time.Time{}); err != nil {
				return err
			}
			return answer
		case errors.Is(err, os.ErrDeadlineExceeded):
			return silent()
		case errors.Is(err, ErrOverrun):
			// The answer may be among what was lost. Old kernels count
			// subscriptions, so the first is taken back.
			if err := errors.Join(c.send(0, ignore), c.send(number, listen)); err != nil {
				return err
			}
		case err != nil && !malformed(err):
			return err
		}
	}
}

func malformed(err error) bool { return errors.Is(err, ErrShort) || errors.Is(err, errForeign) }

// BufferSize returns the size of the socket's buffer in bytes.
func (c *Conn) BufferSize() int { return c.bytes }

// Receive takes what the socket holds, up to a batch, and calls fn with each
// record, in order. With wait it waits until there is something or Interrupt
// is called, whereupon it returns os.ErrDeadlineExceeded; without, nothing
// there is EAGAIN. [ErrOverrun] says that messages were lost, [ErrShort] that
// one could not be read. fn must not call a method of c, and must not keep
// its argument.
func (c *Conn) Receive(wait bool, fn func(*Record)) error {
	var err error
	try := func(fd uintptr) bool {
		err = c.receive(int(fd), fn)
		return err != unix.EAGAIN
	}
	var ioErr error
	if wait {
		ioErr = c.raw.Read(try)
	} else {
		ioErr = c.raw.Control(func(fd uintptr) { try(fd) })
	}
	if ioErr != nil {
		return ioErr
	}
	return err
}

func (c *Conn) receive(fd int, fn func(*Record)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, err := c.batch.Receive(fd)
	for err == unix.EINTR {
		n, err = c.batch.Receive(fd)
	}
	if err != nil {
		return err
	}
	for i := range n {
		data, port, whole := c.batch.Datagram(i)
		if port != 0 {
			continue // some program's, not the kernel's
		}
		if !whole {
			err = ErrShort
			continue
		}
		for len(data) > 0 {
			r, rest, decodeErr := Decode(data)
			data = rest
			if decodeErr == nil {
				fn(&r)
			} else if decodeErr != errForeign {
				err = decodeErr
			}
		}
	}
	return err
}

// Interrupt ends every Receive that waits, and all later ones that would.
func (c *Conn) Interrupt() error { return c.nl.SetReadDeadline(time.Unix(0, 1)) }

// Close ends the subscription and gives the socket back.
func (c *Conn) Close() error {
	// Before 6.6 the kernel does not notice that a subscriber has gone, and
	// would go on making messages for nobody.
	err := c.send(rand.Uint32(), ignore)
	return errors.Join(err, c.nl.Close())
}

// isAdmin reports whether this process has CAP_NET_ADMIN (bit 12).
func isAdmin() bool {
	status, err := procfs.OwnStatus(true)
	return err == nil && status.CapEff>>12&1 == 1
}

// silent says why the subscription was not answered.
func silent() error {
	users, errUsers := procfs.InInitialNamespace(procfs.UserNamespace)
	pids, errPIDs := procfs.InInitialNamespace(procfs.PIDNamespace)
	if errUsers == nil && errPIDs == nil && users && pids {
		return ErrMissing // it has the connector, and no processes' events
	}
	return errSilent
}
