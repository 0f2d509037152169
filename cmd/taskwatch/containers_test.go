package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/process"
)

// shipped is the root of a container: a program that runs nowhere else, and
// users that the host does not have.
type shipped struct {
	dir     string
	program string // its path in the root
}

const (
	captain     = "captain" // the container's root
	insider     = "insider"
	insiderUser = 34574
)

func newShipped(t *testing.T) shipped {
	t.Helper()
	s := shipped{dir: t.TempDir(), program: fmt.Sprintf("/bin/busybox-shipped-%d", os.Getpid())}
	busybox, err := os.ReadFile(testutil.RequireTool(t, "busybox"))
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{"bin", "etc", "proc", "sys", "dev", "run", "tmp"} {
		if err := os.Mkdir(filepath.Join(s.dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for path, text := range map[string]string{s.program: string(busybox), "/etc/passwd": fmt.Sprintf("%s:x:0:0::/:\n%s:x:%d:0::/:\n", captain, insider, insiderUser)} {
		if err := os.WriteFile(filepath.Join(s.dir, path), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(s.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	// Busybox is each program by the name that it is called with, and by its own
	// name and more what its first argument says.
	if err := os.Symlink(filepath.Base(s.program), filepath.Join(s.dir, "bin/sh")); err != nil {
		t.Fatal(err)
	}
	return s
}

// loop is what a container does until it is killed: programs, over and over.
func (s shipped) loop() []string {
	return []string{"/bin/sh", "-c", fmt.Sprintf("while :; do %s true; %s usleep 50000; done", s.program, s.program)}
}

// containerRow is a line of the table that these tests watch.
type containerRow struct {
	Exe, Container, Runtime string
	Name                    *string `json:"container.name"`
	Image                   *string `json:"container.image"`
	User                    *string `json:"container.user"`
}

func containerRows(t *testing.T, text string) (rows []containerRow) {
	t.Helper()
	for line := range strings.Lines(text) {
		if !strings.HasSuffix(line, "\n") {
			break // it is being written
		}
		var r containerRow
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		rows = append(rows, r)
	}
	return rows
}

// watchContainers watches execs with the sockets that variables name.
func watchContainers(t *testing.T, variables ...string) *watcher {
	t.Helper()
	for _, v := range variables {
		name, value, _ := strings.Cut(v, "=")
		t.Setenv(name, value)
		defer os.Unsetenv(name) // podman, too, would follow it
	}
	return startWatch(t, 0, "-e", "exec", "-f", "json", "--columns", "exe,container,runtime,container.name,container.image,container.user")
}

// enough is how many execs of a container a test judges at least.
const enough = 6

// untilTold waits until there are enough execs in a container, and one comes
// with what only the runtime and the container know.
func untilTold(t *testing.T, w *watcher, id string, want func(containerRow) bool) {
	t.Helper()
	eventually(t, "an exec in "+id+" comes with the names", func() bool {
		n, told := 0, false
		for _, r := range containerRows(t, w.stdout.String()) {
			if r.Container == id {
				n++
				told = told || want(r)
			}
		}
		return told && n > enough // with the runtime's own, before the program's
	})
}

func isText(p *string, want string) bool { return p != nil && *p == want }

// checkExecs judges the execs of a container and those around it.
func checkExecs(t *testing.T, s shipped, rows []containerRow, ids []string, runtime string, monitors ...string) {
	t.Helper()
	inside, around := 0, 0
	for _, r := range rows {
		switch {
		case r.Exe == s.program:
			inside++
			if !slices.Contains(ids, r.Container) || r.Runtime != runtime {
				t.Errorf("an exec in a container of %v is in %q of %q", ids, r.Container, r.Runtime)
			}
		case slices.Contains(monitors, filepath.Base(r.Exe)):
			around++
			if r.Container != "" {
				t.Errorf("%s is in the container %q", r.Exe, r.Container)
			}
		}
	}
	if inside < enough || around == 0 {
		t.Errorf("%d execs in the container and %d of %v were seen", inside, around, monitors)
	}
}

// startService starts a runtime's server and waits for its socket.
func startService(t *testing.T, socket string, c *exec.Cmd) {
	t.Helper()
	var log screen
	c.Stdout, c.Stderr = &log, &log
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Signal(unix.SIGTERM)
		_ = c.Wait()
		if t.Failed() {
			t.Logf("%v: %s", c.Args, log.String())
		}
	})
	eventually(t, "a socket "+socket, func() bool {
		if state(c.Process.Pid) == 'Z' {
			t.Fatalf("%v ended: %s", c.Args, log.String())
		}
		_, err := os.Stat(socket)
		return err == nil
	})
}

// podman is one with a store of its own.
type podman struct{ global []string }

func newPodman(t *testing.T) podman {
	t.Helper()
	testutil.Root(t)
	for _, tool := range []string{"podman", "conmon", "runc"} {
		testutil.RequireTool(t, tool)
	}
	dir, err := os.MkdirTemp("", "twp") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return podman{[]string{"--root", dir + "/store", "--runroot", dir + "/run", "--tmpdir", dir + "/tmp", "--storage-driver", "vfs",
		"--cgroup-manager", "cgroupfs", "--runtime", "runc", "--events-backend", "none"}}
}

func (p podman) cmd(args ...string) *exec.Cmd {
	return exec.Command("podman", slices.Concat(p.global, args)...)
}

func mustOutput(t *testing.T, c *exec.Cmd) string {
	t.Helper()
	var stderr strings.Builder
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%v: %v: %s", c.Args, err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

// TestContainersOfPodman holds what is said of containers to what podman says.
func TestContainersOfPodman(t *testing.T) {
	testutil.Long(t)
	p, s := newPodman(t), newShipped(t)
	adopt(t)
	socket := filepath.Join(filepath.Dir(p.global[1]), "api.sock")
	startService(t, socket, p.cmd("system", "service", "--time", "0", "unix://"+socket))
	w := watchContainers(t, "CONTAINER_HOST=unix://"+socket)
	name := "taskwatch-" + strconv.Itoa(os.Getpid())
	run := slices.Concat([]string{"run", "-d", "--name", name, "--cgroup-parent", testCgroup(), "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024", "--network", "none",
		"--user", strconv.Itoa(insiderUser), "--rootfs", s.dir}, s.loop())
	id := mustOutput(t, p.cmd(run...))
	removed := false
	remove := func() {
		if !removed {
			removed = true
			mustOutput(t, p.cmd("rm", "-f", "-t", "0", name))
			removeCgroups(t)
		}
	}
	defer remove()
	if told := mustOutput(t, p.cmd("inspect", "--format", "{{.Id}}", name)); told != id {
		t.Fatalf("podman calls it %s and %s", id, told)
	}
	untilTold(t, w, id, func(r containerRow) bool { return isText(r.Name, name) && isText(r.User, insider) })
	d := startServe(t, filepath.Join(filepath.Dir(socket), "d"), []string{"CONTAINER_HOST=unix://" + socket})
	checkContainerStream(t, d, name, s.program)
	d.stop(t)
	remove()
	w.stop(t, unix.SIGINT)
	checkExecs(t, s, containerRows(t, w.stdout.String()), []string{id}, "podman", "conmon")
}

// containerd is one with a state of its own.
type containerd struct{ socket string }

func startContainerd(t *testing.T, pause string) containerd {
	t.Helper()
	testutil.Root(t)
	for _, tool := range []string{"containerd", "ctr", "containerd-shim-runc-v2", "runc"} {
		testutil.RequireTool(t, tool)
	}
	dir, err := os.MkdirTemp("", "twc")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	c := containerd{dir + "/c.sock"}
	config := fmt.Sprintf(`version = 2
root = %q
state = %q
disabled_plugins = ["io.containerd.internal.v1.opt"]
[grpc]
  address = %q
[ttrpc]
  address = %q
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = %q
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
`, dir+"/root", dir+"/state", c.socket, dir+"/t.sock", pause)
	if err := os.WriteFile(dir+"/config.toml", []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	startService(t, c.socket, exec.Command("containerd", "-c", dir+"/config.toml"))
	return c
}

func (c containerd) ctr(args ...string) *exec.Cmd {
	return exec.Command("ctr", slices.Concat([]string{"-a", c.socket}, args)...)
}

// TestContainersOfContainerd does the same with containerd.
func TestContainersOfContainerd(t *testing.T) {
	testutil.Long(t)
	s := newShipped(t)
	c := startContainerd(t, "unused")
	adopt(t)
	w := watchContainers(t)
	id := fmt.Sprintf("%064x", os.Getpid())
	mustOutput(t, c.ctr(slices.Concat([]string{"run", "-d", "--cgroup", "/" + testCgroup() + "/default/" + id, "--rootfs", s.dir, id}, s.loop())...))
	removed := false
	remove := func() {
		if !removed {
			removed = true
			mustOutput(t, c.ctr("task", "rm", "-f", id))
			mustOutput(t, c.ctr("container", "rm", id))
			removeCgroups(t)
		}
	}
	defer remove()
	if list := mustOutput(t, c.ctr("task", "ls", "-q")); list != id {
		t.Fatalf("containerd has the tasks %q, want %s", list, id)
	}
	untilTold(t, w, id, func(r containerRow) bool { return isText(r.User, captain) })
	remove()
	w.stop(t, unix.SIGINT)
	checkExecs(t, s, containerRows(t, w.stdout.String()), []string{id}, "containerd", "containerd-shim-runc-v2")
}

// message encodes fields of a protobuf message: numbers, texts and messages by
// their number.
func message(fields ...any) (b []byte) {
	for i := 0; i < len(fields); i += 2 {
		n := protowire.Number(fields[i].(int))
		switch v := fields[i+1].(type) {
		case int:
			b = protowire.AppendVarint(protowire.AppendTag(b, n, protowire.VarintType), uint64(v))
		case string:
			b = protowire.AppendString(protowire.AppendTag(b, n, protowire.BytesType), v)
		case []byte:
			b = protowire.AppendBytes(protowire.AppendTag(b, n, protowire.BytesType), v)
		}
	}
	return b
}

// encoded is a codec for messages that are encoded already.
type encoded struct{}

func (encoded) Name() string                  { return "proto" }
func (encoded) Marshal(v any) ([]byte, error) { return *v.(*[]byte), nil }
func (encoded) Unmarshal(b []byte, v any) error {
	*v.(*[]byte) = slices.Clone(b)
	return nil
}

// call calls a method of the runtime's interface and returns the text that is
// the first field of its answer.
func (c containerd) call(t *testing.T, method string, fields ...any) string {
	t.Helper()
	conn, err := grpc.NewClient("unix://"+c.socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	in, out := message(fields...), []byte(nil)
	if err := conn.Invoke(context.Background(), "/runtime.v1.RuntimeService/"+method, &in, &out, grpc.ForceCodec(encoded{})); err != nil {
		t.Fatalf("%s: %v", method, err)
	}
	if n, typ, size := protowire.ConsumeTag(out); size > 0 && n == 1 && typ == protowire.BytesType {
		text, _ := protowire.ConsumeString(out[size:])
		return text
	}
	return ""
}

// TestContainersOfAPod does the same with a pod of containerd's CRI plugin, as
// Kubernetes makes it.
func TestContainersOfAPod(t *testing.T) {
	testutil.Long(t)
	p, s := newPodman(t), newShipped(t)
	adopt(t)
	const image = "localhost/taskwatch-test:latest"
	archive := filepath.Join(t.TempDir(), "root.tar")
	mustOutput(t, exec.Command("tar", "-C", s.dir, "-cf", archive, "."))
	command, err := json.Marshal([]string{s.program, "sleep", "1000"})
	if err != nil {
		t.Fatal(err)
	}
	mustOutput(t, p.cmd("import", "-q", "--change", "CMD "+string(command), archive, image))
	saved := filepath.Join(t.TempDir(), "image.tar")
	mustOutput(t, p.cmd("save", "-q", "-o", saved, image))
	c := startContainerd(t, image)
	mustOutput(t, c.ctr("-n", "k8s.io", "image", "import", "--snapshotter", "native", saved))

	w := watchContainers(t, "CONTAINER_RUNTIME_ENDPOINT=unix://"+c.socket)
	const node = 2 // the machine's network, so that no plugin is needed
	uid := fmt.Sprintf("1f2e3d4c-0001-4a2b-8c3d-%012x", os.Getpid())
	pod := message(1, message(1, "web-pod", 2, uid, 3, "default"), 8, message(1, "/"+testCgroup()+"/pod"+uid, 2, message(1, message(1, node))))
	sandbox := c.call(t, "RunPodSandbox", 1, pod)
	removed := false
	remove := func() {
		if !removed {
			removed = true
			c.call(t, "StopPodSandbox", 1, sandbox)
			c.call(t, "RemovePodSandbox", 1, sandbox)
			removeCgroups(t)
		}
	}
	defer remove()
	config := []any{1, message(1, "web"), 2, message(1, image), 15, message(2, message(5, message(1, insiderUser), 3, message(1, node)))}
	for _, arg := range s.loop() {
		config = append(config, 3, arg)
	}
	id := c.call(t, "CreateContainer", 1, sandbox, 2, message(config...), 3, pod)
	c.call(t, "StartContainer", 1, id)
	untilTold(t, w, id, func(r containerRow) bool {
		return isText(r.Name, "web") && isText(r.Image, image) && isText(r.User, insider)
	})
	remove()
	w.stop(t, unix.SIGINT)
	checkExecs(t, s, containerRows(t, w.stdout.String()), []string{id, sandbox}, "", "containerd-shim-runc-v2")
}

// testCgroup is the parent of the cgroups that the runtimes make.
func testCgroup() string { return fmt.Sprintf("taskwatch-test-%d", os.Getpid()) }

// adopt has this process inherit the monitors of containers, until the test
// ends: a cgroup of version 1 stays as long as a zombie in it, and not each init
// of a container looks for those.
func adopt(t *testing.T) {
	t.Helper()
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0) })
}

// removeCgroups waits for the monitors, and removes what a runtime leaves of the
// test's cgroups in all hierarchies: the parents, and podman's for conmon.
func removeCgroups(t *testing.T) {
	t.Helper()
	below, err := process.Below(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range below {
		if f.PPID == os.Getpid() && (f.Comm == "conmon" || f.Comm == "containerd-shim") {
			if _, err := unix.Wait4(f.PID, nil, 0, nil); err != nil {
				t.Errorf("%s, %d: %v", f.Comm, f.PID, err)
			}
		}
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		f := strings.Fields(line)
		if !strings.HasPrefix(f[2], "cgroup") {
			continue
		}
		var dirs []string
		err := filepath.WalkDir(filepath.Join(f[1], testCgroup()), func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, path)
			}
			return err
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
		for _, d := range slices.Backward(dirs) {
			if err := os.Remove(d); err != nil {
				t.Error(err)
			}
		}
	}
}
