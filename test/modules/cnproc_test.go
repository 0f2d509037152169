package modules

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/daemon"
	"github.com/taskwatch/taskwatch/daemon/api"
	"github.com/taskwatch/taskwatch/internal/cnproc"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/module/kernel"
	stock "github.com/taskwatch/taskwatch/modules"
)

// readConnector reads messages from a socket of the connector, or one that is to be
// as one, and sends those of kinds on until pid and all its descendants have exited.
// The exit of a task may come behind that of the parent that has reaped it, where the
// kernel preempts the task before it sends it.
func readConnector(fd int, pid <-chan int, got chan<- []byte) error {
	defer close(got)
	const kinds = cnproc.Fork | cnproc.Exec | cnproc.UID | cnproc.GID | cnproc.Exit
	var kept [][]byte
	last := -1
	b := make([]byte, cnproc.MaxMessage)
	for {
		n, err := readAgain(fd, b)
		if err != nil {
			return fmt.Errorf("%w; tasks without an exit: %v", err, living(kept, last))
		}
		r, _, err := cnproc.Decode(b[:n])
		if err != nil {
			return err
		}
		if r.What&kinds == 0 {
			continue
		}
		m := slices.Clone(b[:n])
		clear(m[8:12])  // the number, of the header
		clear(m[24:28]) // and of the message
		clear(m[44:52]) // the time
		kept = append(kept, m)
		if r.What == cnproc.Exit && last < 0 {
			last = <-pid // or this may be its exit, and nobody knows
		}
		if r.What == cnproc.Exit && len(living(kept, last)) == 0 {
			for _, m := range kept {
				got <- m
			}
			return nil
		}
	}
}

// living returns those of a process and its descendants that have not exited, by the
// messages.
func living(messages [][]byte, pid int) map[int]bool {
	live := map[int]bool{pid: true}
	ofTree(messages, pid, func(r *cnproc.Record, _ []byte) {
		switch r.What {
		case cnproc.Fork:
			live[r.TID] = true
		case cnproc.Exit:
			delete(live, r.TID)
		}
	})
	return live
}

// ofTree calls fn with each of the messages that is about a process or a descendant.
func ofTree(messages [][]byte, pid int, fn func(r *cnproc.Record, m []byte)) {
	ours := map[int]bool{pid: true}
	for _, m := range messages {
		r, _, err := cnproc.Decode(m)
		if err != nil {
			panic(err) // it was decoded when it was read
		}
		if r.What == cnproc.Fork && ours[r.ParentPID] {
			ours[r.PID] = true
		}
		if ours[r.PID] {
			fn(&r, m)
		}
	}
}

// readAgain reads from a socket. With a timeout of its own, the kernel restarts no call
// that one of Go's signals has interrupted.
func readAgain(fd int, b []byte) (n int, err error) {
	for {
		if n, err = unix.Read(fd, b); err != unix.EINTR {
			return n, err
		}
	}
}

// subscribe asks for messages, and waits for the answer.
func subscribe(t *testing.T, fd int) {
	t.Helper()
	request(t, fd, 1)
}

// ignore asks for no more messages, and waits for the answer.
func ignore(t *testing.T, fd int) {
	t.Helper()
	request(t, fd, 2)
}

// request sends PROC_CN_MCAST_LISTEN or PROC_CN_MCAST_IGNORE, and waits for the answer.
func request(t *testing.T, fd int, op uint32) {
	t.Helper()
	// A nlmsghdr, a cn_msg and the operation.
	var b []byte
	for _, word := range []uint32{40, unix.NLMSG_DONE, 0, 0, 1, 1, 0, 77, 4, op} {
		b = binary.NativeEndian.AppendUint32(b, word)
	}
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		binary.NativeEndian.PutUint16(b[4:], unix.NLMSG_DONE)
		binary.NativeEndian.PutUint16(b[32:], 4)
	}
	if _, err := unix.Write(fd, b); err != nil {
		t.Fatal(err)
	}
	for answer := make([]byte, cnproc.MaxMessage); ; {
		n, err := readAgain(fd, answer)
		if err != nil {
			t.Fatalf("there is no answer: %v", err)
		}
		r, _, err := cnproc.Decode(answer[:n])
		if err == nil && r.What == cnproc.Answer && r.Ack == 78 && r.Code == 0 {
			return
		}
	}
}

// dial opens a socket that may wait for a minute.
func dial(t *testing.T, domain, kind, protocol int, connect func(fd int) error) int {
	t.Helper()
	fd, err := unix.Socket(domain, kind|unix.SOCK_CLOEXEC, protocol)
	if err == nil {
		t.Cleanup(func() { unix.Close(fd) })
		err = errors.Join(connect(fd), unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 60}))
	}
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

// byTask sorts the messages of a process and its descendants by their task.
func byTask(messages [][]byte, pid int) map[int][]string {
	tasks := map[int][]string{}
	ofTree(messages, pid, func(r *cnproc.Record, m []byte) {
		tasks[r.TID] = append(tasks[r.TID], fmt.Sprintf("%#x: %x", uint32(r.What), m))
	})
	return tasks
}

// withParent returns the last message of a task as the connector would have sent it
// if the parent of cnproc's had been there. The connector's exit comes when the
// parent may have reaped the task, which a kernel that preempts lets it do; then the
// message names none.
func withParent(connectors, ours string) string {
	const digits = 2 * (4 + 4) // of the last two members, the parent's ids
	what, _, _ := strings.Cut(connectors, ":")
	rest, none := strings.CutSuffix(connectors, strings.Repeat("0", digits))
	if what != fmt.Sprintf("%#x", uint32(cnproc.Exit)) || !none || len(ours) != len(connectors) {
		return connectors
	}
	return rest + ours[len(rest):]
}

// What cnproc sends is what the kernel's own connector sends in the same run, but
// for the number and the time.
func TestConnectorsMessages(t *testing.T) {
	testutil.Root(t)
	if c, err := cnproc.Open(1 << 16); err != nil {
		testutil.Skip(t, "the process connector: "+err.Error(), func() bool { return true })
	} else if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	program := testutil.BuildC(t, "-static", "-pthread", "testdata/connector.c")

	l, err := net.Listen("unixpacket", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	server := cnproc.NewServer(l, nil)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve() }()
	defer func() {
		if err := errors.Join(server.Close(), <-ended); err != nil {
			t.Error(err)
		}
	}()
	var live taskwatch.Registry
	if err := live.Attach(taskwatch.NewSink(nil, func(it taskwatch.Item) {
		if it.Record != nil {
			server.Send(it.Record.Data)
		}
	})); err != nil {
		t.Fatal(err)
	}
	loadStock(t, &live, "cnproc", kernel.LoadOptions{})

	sockets := map[string]int{
		"the connector": dial(t, unix.AF_NETLINK, unix.SOCK_DGRAM, unix.NETLINK_CONNECTOR, func(fd int) error {
			return errors.Join(unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1}),
				unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20))
		}),
		"cnproc": dial(t, unix.AF_UNIX, unix.SOCK_SEQPACKET, 0, func(fd int) error {
			return unix.Connect(fd, &unix.SockaddrUnix{Name: l.Addr().String()})
		}),
	}
	pids, got, failed := map[string]chan int{}, map[string]chan []byte{}, make(chan error, 2)
	for name, fd := range sockets {
		subscribe(t, fd)
		pids[name], got[name] = make(chan int, 1), make(chan []byte, 1<<16)
		go func() {
			err := readConnector(fd, pids[name], got[name])
			if err != nil {
				err = fmt.Errorf("%s: %w", name, err)
			}
			failed <- err
		}()
	}

	// On one processor, whose number the messages have. The thread that forks is
	// the parent that they name.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		t.Fatal(err)
	}
	for cpu := 0; one.Count() == 0; cpu++ {
		if before.IsSet(cpu) {
			one.Set(cpu)
		}
	}
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program)
	err = cmd.Start()
	if err := unix.SchedSetaffinity(0, &before); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range pids {
		pid <- cmd.Process.Pid // while it is a zombie at most: until Wait nobody else has it
	}
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 5 {
		t.Fatal(err)
	}
	if err := errors.Join(<-failed, <-failed); err != nil {
		t.Fatal(err)
	}

	tasks := map[string]map[int][]string{}
	for name := range got {
		var all [][]byte
		for m := range got[name] {
			all = append(all, m)
		}
		tasks[name] = byTask(all, cmd.Process.Pid)
	}
	want := tasks["the connector"]
	if len(want) < 50 {
		t.Errorf("the connector tells of %d tasks", len(want))
	}
	for tid, messages := range want {
		ours := tasks["cnproc"][tid]
		if last := len(messages) - 1; len(ours) == len(messages) {
			messages[last] = withParent(messages[last], ours[last])
		}
		if !slices.Equal(ours, messages) {
			t.Errorf("%d: cnproc has\n%s\nand the connector\n%s", tid, strings.Join(ours, "\n"), strings.Join(messages, "\n"))
		}
		delete(tasks["cnproc"], tid)
	}
	if more := tasks["cnproc"]; len(more) > 0 {
		t.Errorf("cnproc tells of others: %v", more)
	}
	if server.Dropped() > 0 {
		t.Errorf("%d packets had no room", server.Dropped())
	}
}

// The daemon has cnproc make messages while some program listens, and none else.
func TestCnprocIsSilentUnheard(t *testing.T) {
	testutil.Root(t)
	socket := filepath.Join(t.TempDir(), "connector")
	client := serve(t, func(c *daemon.Config) {
		c.Connector = socket
		c.Modules = []daemon.ModuleConfig{{File: daemon.ConnectorModule}}
	})
	// values returns the only entry of a map, by processor or not.
	values := func(name string) (list []uint64) {
		answer, err := client.Map(t.Context(), connect.NewRequest(&api.MapRequest{Name: daemon.ConnectorModule, Map: name}))
		if err != nil || len(answer.Msg.Entries) != 1 {
			t.Fatal(answer, err)
		}
		text := answer.Msg.Entries[0].Value
		if !strings.HasPrefix(text, "[") {
			text = "[" + text + "]"
		}
		if err := json.Unmarshal([]byte(text), &list); err != nil {
			t.Fatal(err)
		}
		return list
	}
	// made returns how many messages are made while a program runs.
	made := func() (n uint64) {
		before := values("sent")
		if err := exec.Command("/bin/true").Run(); err != nil {
			t.Fatal(err)
		}
		for cpu, after := range values("sent") {
			n += after - before[cpu]
		}
		return n
	}
	join := func() int {
		fd := dial(t, unix.AF_UNIX, unix.SOCK_SEQPACKET, 0, func(fd int) error {
			return unix.Connect(fd, &unix.SockaddrUnix{Name: socket})
		})
		subscribe(t, fd)
		return fd
	}
	check := func(when string, heard bool) {
		t.Helper()
		if n := made(); heard && n < 3 || !heard && n > 0 { // a fork, an exec and an exit
			t.Errorf("%s, %d messages are made of a process", when, n)
		}
	}
	// hush is check for none, which the answer to the last program does not wait for.
	hush := func(when string) {
		t.Helper()
		for end := time.Now().Add(time.Minute); values("silent")[0] == 0; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s, messages are made for nobody", when)
			}
		}
		check(when, false)
	}
	load := func(how *api.LoadRequest) {
		t.Helper()
		how.Name, how.File = daemon.ConnectorModule, stock.Find(daemon.ConnectorModule).Object()
		if _, err := client.Load(t.Context(), connect.NewRequest(how)); err != nil {
			t.Fatal(err)
		}
	}
	check("before anybody listens", false)
	first := join()
	check("with the first listener", true)
	second := join()
	if err := unix.Shutdown(first, unix.SHUT_RDWR); err != nil {
		t.Fatal(err)
	}
	check("with the second one", true)
	load(&api.LoadRequest{Replace: true})
	check("after it was replaced", true)
	ignore(t, second)
	hush("when the last one has heard enough")
	subscribe(t, second)
	check("when it listens again", true)
	if _, err := client.Unload(t.Context(), connect.NewRequest(&api.UnloadRequest{Name: daemon.ConnectorModule})); err != nil {
		t.Fatal(err)
	}
	load(&api.LoadRequest{})
	check("loaded while somebody listens", true)
	if err := unix.Shutdown(second, unix.SHUT_RDWR); err != nil {
		t.Fatal(err)
	}
	hush("when the last one has gone")
}

// forkstat reads the daemon's socket as it reads the connector.
func TestForkstatReadsCnproc(t *testing.T) {
	testutil.Root(t)
	forkstat := testutil.RequireTool(t, "forkstat")
	preload := testutil.BuildC(t, "-shared", "-fPIC", "testdata/preload.c")
	socket := filepath.Join(t.TempDir(), "connector")
	serve(t, func(c *daemon.Config) {
		c.Connector = socket
		c.Modules = []daemon.ModuleConfig{{File: daemon.ConnectorModule}}
	})
	c := exec.Command(forkstat, "-l", "-e", "fork,exec,exit")
	c.Env = append(c.Environ(), "LD_PRELOAD="+preload, "CONNECTOR_SOCKET="+socket)
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 1<<16)
	go func() {
		defer close(lines)
		for b, text := make([]byte, 1<<16), ""; ; {
			n, err := out.Read(b)
			text += string(b[:n])
			for line, rest, ok := strings.Cut(text, "\n"); ok; line, rest, ok = strings.Cut(text, "\n") {
				lines <- line
				text = rest
			}
			if err != nil {
				return
			}
		}
	}()
	defer func() {
		_ = c.Process.Kill()
		for range lines {
		}
		_ = c.Wait()
	}()

	// It does not say when it has subscribed.
	var seen []string
	for end, pid := time.Now().Add(2*time.Minute), 0; ; {
		cmd := exec.Command("sh", "-c", "(exit 3); exit 7")
		if err := cmd.Run(); cmd.ProcessState.ExitCode() != 7 {
			t.Fatal(err)
		}
		pid = cmd.Process.Pid
		exit := regexp.MustCompile(fmt.Sprintf(` exit +%d +%d `, pid, 7<<8)) // as wait returns it
		for wait, found := time.After(time.Second), false; !found; {
			select {
			case line, ok := <-lines:
				if !ok {
					t.Fatalf("forkstat has ended; it said\n%s", strings.Join(seen, "\n"))
				}
				seen = append(seen, line)
				found = exit.MatchString(line)
			case <-wait:
				found = true
			}
		}
		all := strings.Join(seen, "\n")
		if exit.MatchString(all) && regexp.MustCompile(fmt.Sprintf(` fork +%d +child `, pid)).MatchString(all) &&
			regexp.MustCompile(fmt.Sprintf(` exec +%d `, pid)).MatchString(all) {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("forkstat does not show the life of %d; it said\n%s", pid, strings.Join(of(seen, pid), "\n"))
		}
	}
}

// of returns the lines with a number.
func of(lines []string, pid int) (list []string) {
	for _, line := range lines {
		if strings.Contains(line, fmt.Sprintf(" %d ", pid)) {
			list = append(list, line)
		}
	}
	return list
}
