package modules

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/taskwatch/taskwatch/daemon"
	"github.com/taskwatch/taskwatch/daemon/api"
	"github.com/taskwatch/taskwatch/internal/testmodule"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/source/bpf"
)

// These make the test binary a daemon, or a client that unloads a module, at the
// socket that they name.
const (
	daemonEnv = "TASKWATCH_TEST_DAEMON"
	rmmodEnv  = "TASKWATCH_TEST_RMMOD"
)

func TestMain(m *testing.M) {
	var err error
	switch {
	case len(os.Args) == 2 && os.Args[1] == guardArg:
		err = daemon.RunClassifyGuard()
	case os.Getenv(daemonEnv) != "":
		err = serveAlone(os.Getenv(daemonEnv))
	case os.Getenv(rmmodEnv) != "":
		err = rmmod(context.Background(), os.Getenv(rmmodEnv))
	default:
		testutil.Main(m)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serveAlone(socket string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	d, err := daemon.New(daemon.Config{
		Socket: socket, Source: bpf.Name, Log: slog.New(slog.NewTextHandler(os.Stderr, nil)), OnReady: func() { fmt.Println("ready") },
		Classify: os.Getenv(rulesEnv), ClassifyGuard: []string{"/proc/self/exe", guardArg},
	})
	if err != nil {
		return err
	}
	return d.Run(ctx)
}

// apart is a daemon in a process of its own.
type apart struct {
	*testutil.Held
	client *daemon.Client
	log    strings.Builder // complete when the daemon has ended
}

// serveApart starts a daemon that is killed at the end of the test, if it is still
// there.
func serveApart(t *testing.T, socket string) *apart {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	d := &apart{client: daemon.NewClient(socket)}
	t.Cleanup(func() { d.client.Close() })
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), daemonEnv+"="+socket)
	cmd.Stderr = &d.log
	d.Held, _ = testutil.Hold(t, cmd)
	return d
}

func (d *apart) terminate(t *testing.T) {
	t.Helper()
	if err := d.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
}

// end waits for the daemon, which ends well.
func (d *apart) end(t *testing.T) {
	t.Helper()
	if err := d.Wait(); err != nil {
		t.Errorf("the daemon: %v\n%s", err, d.log.String())
	}
}

const denyAll = "denyall"

func rmmod(ctx context.Context, socket string) error {
	c := daemon.NewClient(socket)
	defer c.Close()
	_, err := c.Unload(ctx, connect.NewRequest(&api.UnloadRequest{Name: denyAll}))
	return err
}

// A module that denies all forks to everybody does not keep the daemon from
// working, nor root from ending it: by a shell that can only replace itself, by
// curl, and by a signal.
func TestDenyEverybody(t *testing.T) {
	testutil.Root(t)
	object := testmodule.Object(t, "../../module/kernel/testdata/modules/denyall.c")
	testutil.Require(t, needsRefusals)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	denied := time.Duration(testutil.Size(2, 10, 60)) * time.Second
	for _, way := range []struct {
		name string
		line func(t *testing.T, socket string, pid int) string // what the shell does
		ends bool                                              // the daemon
	}{
		{"rmmod", func(*testing.T, string, int) string { return "exec " + self }, false},
		{"curl", func(t *testing.T, socket string, _ int) string {
			return "exec " + testutil.RequireTool(t, "curl") + " -sS --fail-with-body -o /dev/null -H content-type:application/json" +
				" -d '{\"name\":\"" + denyAll + "\"}' --unix-socket " + socket + " http://localhost/taskwatch.v1.Daemon/Unload"
		}, false},
		{"SIGTERM", func(_ *testing.T, _ string, pid int) string { return "kill -TERM " + strconv.Itoa(pid) }, true},
	} {
		t.Run(way.name, func(t *testing.T) {
			socket := filepath.Join(t.TempDir(), "s")
			d := serveApart(t, socket)
			client := d.client
			sh := testutil.Shell()
			sh.Env = append(os.Environ(), rmmodEnv+"="+socket)
			root, _ := testutil.Hold(t, sh)
			line := way.line(t, socket, d.Process.Pid)

			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute) // bounds a failure
			defer cancel()
			load := &api.LoadRequest{Name: denyAll, File: object, AllowBestEffort: true, Params: map[string]string{"spare": fmt.Sprint(os.Getpid())}}
			if _, err := client.Load(ctx, connect.NewRequest(load)); err != nil {
				t.Fatal(err)
			}
			forks := 0
			for end := time.Now().Add(denied); forks == 0 || time.Now().Before(end); forks++ {
				if err := exec.Command("sh", "-c", "(exit 0); (exit 0); exit 0").Run(); err == nil {
					t.Fatalf("fork %d was not denied", forks)
				}
				list, err := client.List(ctx, connect.NewRequest(&api.ListRequest{}))
				if err != nil {
					t.Fatalf("after %d forks: %v", forks, err)
				}
				if n := list.Msg.Modules[0].Calls.Vetoes; n < uint64(forks+1) {
					t.Fatalf("%d vetoes for %d denied forks", n, forks+1)
				}
			}
			t.Logf("%d forks were denied", forks)
			if _, err := fmt.Fprintln(root.In, line); err != nil {
				t.Fatal(err)
			}
			root.Release(t)
			if err := exec.Command("sh", "-c", "(exit 0); (exit 0); exit 0").Run(); err != nil && !way.ends {
				t.Errorf("after the module: %v", err)
			}
			if !way.ends {
				list, err := client.List(ctx, connect.NewRequest(&api.ListRequest{}))
				if err != nil || len(list.Msg.Modules) != 0 {
					t.Errorf("the daemon has %v, %v; want no module", list, err)
				}
				d.terminate(t)
			}
			d.end(t)
			if err := exec.Command("sh", "-c", "(exit 0); (exit 0); exit 0").Run(); err != nil {
				t.Errorf("after the daemon: %v", err)
			}
		})
	}
}
