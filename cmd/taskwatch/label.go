package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/daemon"
	"github.com/taskwatch/taskwatch/daemon/api"
	"github.com/taskwatch/taskwatch/internal/label"
)

func newLabel() *cobra.Command {
	var socket, format string
	var drop bool
	cmd := &cobra.Command{
		Use:   "label [PID [VALUE]]",
		Short: "Read and set the labels of processes",
		Long: `label sets the label of a running process, such as the id of a job or of a
trace. The processes that it makes from then on have it too, daemons included;
those that it has made before keep what they have. Without a VALUE it shows the
label of the process, and without a PID those of all processes.

A VALUE is 32 hexadecimal digits, or text of at most 16 letters, digits and
characters of -_.:/@+=.

The daemon must have loaded the module label ('taskwatch insmod label'), whose
parameters say if an exec drops a label. To set one needs the right to load
modules. The exit status is 1 if there is no such process, or it has no label.`,
		Example: `  sudo taskwatch insmod label
  sudo taskwatch label $$ job-7
  taskwatch label $$
  taskwatch label
  sudo taskwatch label $$ --delete`,
		Args: cobra.MaximumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkFormat(format); err != nil {
				return &exitError{status: exitUsage, err: err}
			}
			if drop && len(args) != 1 {
				return usage(errors.New("--delete takes a PID, and no label"))
			}
			pid, value, err := labelArgs(args)
			if err != nil {
				return usage(err)
			}
			c := &labelClient{Client: daemon.NewClient(socket), cmd: cmd}
			defer c.Close()
			switch {
			case drop:
				return c.failed(pid, c.delete(pid))
			case len(args) == 2:
				return c.failed(pid, c.set(pid, value))
			}
			list, err := c.read(args)
			if err != nil {
				return c.failed(pid, err)
			}
			return show(cmd, format, list)
		},
	}
	addSocket(cmd, &socket)
	addFormat(cmd, &format)
	cmd.Flags().BoolVar(&drop, "delete", false, "drop the label of the process")
	return cmd
}

// labelArgs reads a pid and a label, as far as they are given.
func labelArgs(args []string) (pid int, value label.Label, err error) {
	if len(args) > 0 {
		if pid, err = strconv.Atoi(args[0]); err != nil || pid <= 0 {
			return 0, value, fmt.Errorf("%q is no process id; give a number from 1 on", args[0])
		}
	}
	if len(args) > 1 {
		value, err = label.Parse(args[1])
	}
	return pid, value, err
}

// labelClient sets labels through the daemon.
type labelClient struct {
	*daemon.Client
	cmd *cobra.Command
}

// failed explains an error. Where the module is not there, it says how to get it.
func (c *labelClient) failed(pid int, err error) error {
	if connect.CodeOf(err) == connect.CodeNotFound {
		err = fmt.Errorf("process %d has no label", pid)
		if _, none := c.Info(c.cmd.Context(), connect.NewRequest(&api.InfoRequest{Name: label.Module})); connect.CodeOf(none) == connect.CodeNotFound {
			err = errors.New("the daemon has no module label; load it with 'taskwatch insmod label'")
		}
	}
	return errDaemon(c.Client, err)
}

func (c *labelClient) delete(pid int) error {
	_, err := c.DeleteMapEntry(c.cmd.Context(), connect.NewRequest(&api.DeleteMapEntryRequest{Name: label.Module, Map: label.Map, Key: strconv.Itoa(pid)}))
	return err
}

// set sets a label. A process that ends meanwhile leaves none for the next one of
// its pid.
func (c *labelClient) set(pid int, value label.Label) error {
	fd, err := unix.PidfdOpen(pid, 0)
	switch {
	case errors.Is(err, unix.ESRCH):
		return fmt.Errorf("there is no process %d", pid)
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOENT):
		return fmt.Errorf("%d is a thread; give the pid of its process", pid)
	case err != nil:
		return fmt.Errorf("process %d: %w", pid, err)
	}
	defer unix.Close(fd)
	b, err := json.Marshal(value)
	if err != nil {
		return err
	}
	r := &api.SetMapEntryRequest{Name: label.Module, Map: label.Map, Key: strconv.Itoa(pid), Value: string(b)}
	if _, err := c.SetMapEntry(c.cmd.Context(), connect.NewRequest(r)); err != nil {
		return err
	}
	if ended, err := hasEnded(fd); err != nil || !ended {
		return err
	}
	if err := c.delete(pid); err != nil && connect.CodeOf(err) != connect.CodeNotFound {
		return err
	}
	return fmt.Errorf("process %d has ended", pid)
}

// hasEnded reports whether the process of a pidfd has.
func hasEnded(pidfd int) (bool, error) {
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, 0)
		if !errors.Is(err, unix.EINTR) {
			return n > 0, err
		}
	}
}

// labelled is a process with its label.
type labelled struct {
	PID   int    `json:"pid"`
	Label string `json:"label"`
}

type labelTable []labelled

func (list labelTable) write(w io.Writer) error {
	for _, l := range list {
		if _, err := fmt.Fprintf(w, "%d %s\n", l.PID, l.Label); err != nil {
			return err
		}
	}
	return nil
}

// read returns the labels of all processes, or of one.
func (c *labelClient) read(args []string) (labelTable, error) {
	r := &api.MapRequest{Name: label.Module, Map: label.Map}
	if len(args) > 0 {
		r.Key = &args[0]
	}
	answer, err := c.Map(c.cmd.Context(), connect.NewRequest(r))
	if err != nil {
		return nil, err
	}
	list := labelTable{}
	for _, e := range answer.Msg.Entries {
		var value label.Label
		pid, err := strconv.Atoi(e.Key)
		if err == nil {
			err = json.Unmarshal([]byte(e.Value), &value)
		}
		if err != nil {
			return nil, fmt.Errorf("module %s is another than the stock module: %w", label.Module, err)
		}
		list = append(list, labelled{pid, value.String()})
	}
	slices.SortFunc(list, func(a, b labelled) int { return a.PID - b.PID })
	if answer.Msg.More {
		fmt.Fprintf(c.cmd.ErrOrStderr(), "taskwatch: more processes have labels than the %d that are shown\n", len(list))
	}
	return list, nil
}
