package hub

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch/fleet"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

// oddName is a name that a node may give itself.
const oddName = "web\x1b]0;x\a1\n2"

// user is a person with a token, and the program.
type user struct {
	t            *testing.T
	dir, program string
	hub          []string // the flags that enroll
}

// newUser enrolls a person.
func newUser(t *testing.T, h *running, program string, role fleet.Role, name string) *user {
	t.Helper()
	return &user{t: t, dir: t.TempDir(), program: program, hub: []string{"--hub", h.URL(), "--hub-token", h.token(t, role, name)}}
}

// command returns a command of 'taskwatch fleet'.
func (u *user) command(args []string) *exec.Cmd {
	return operate(u.dir, u.program, slices.Concat([]string{"fleet"}, args, u.hub)...)
}

// fleet runs a command, and returns what it prints and whether it has failed.
func (u *user) fleet(args ...string) (text string, failed bool) {
	u.t.Helper()
	out, err := u.command(args).CombinedOutput()
	return string(out), err != nil
}

// start starts a command, and returns it with what it says so far.
func (u *user) start(args ...string) (*exec.Cmd, *testutil.Log) {
	u.t.Helper()
	c := u.command(args)
	said := new(testutil.Log)
	c.Stdout, c.Stderr = said, said
	if err := c.Start(); err != nil {
		u.t.Fatal(err)
	}
	return c, said
}

// The commands as people of each role use them: what they may not do they are told, with
// the reason and what to do; a mistake in an expression is said; what is for programs is
// JSON; and nothing that a node says reaches the terminal as it is.
func TestCommandsOfEachRole(t *testing.T) {
	testutil.RequireTool(t, "minisign")
	h := startHub(t)
	program := buildTaskwatch(t, runtime.GOARCH)
	loader, reader, node := newUser(t, h, program, fleet.Loader, "alice"), newUser(t, h, program, fleet.Reader, "bob"), newUser(t, h, program, fleet.Node, "n")
	dir := loader.dir
	command(t, dir, "minisign", "-G", "-W", "-p", "team.pub", "-s", "team.key")
	file, key := filepath.Join(dir, "count.wasm"), filepath.Join(dir, "team.key")
	if err := os.WriteFile(file, counterModule(t), 0o600); err != nil {
		t.Fatal(err)
	}
	insmod := []string{"insmod", "--key", key, file}
	if out, failed := loader.fleet(append(insmod, "--name", "early")...); failed || !strings.Contains(out, "module early: the fleet has no nodes yet") {
		t.Errorf("a fleet without nodes: %v\n%s", failed, out)
	}
	tm := newTeam(t, h)
	odd := h.identity(t, h.token(t, fleet.Node, "odd"))
	newNodeAs(t, odd, tm.keys, oddName, map[string]string{"role": "ci"}) // it does not trust alice's key
	tm.reported(t, 1)

	for _, c := range []struct {
		who   *user
		args  []string
		fails bool
		says  string
	}{
		{reader, insmod, true, "a reader may not do that; enroll with another role"},
		{reader, []string{"rmmod", "--key", key, "early"}, true, "a reader may not do that; enroll with another role"},
		{node, []string{"nodes"}, true, "a node may not do that; enroll with another role"},
		{node, []string{"watch"}, true, "a node may not do that; enroll with another role"},
		{node, []string{"audit"}, true, "a node may not do that; enroll with another role"},
		{loader, append(insmod, "--select", `rol == "ci"`), false, "module count: --select chooses none of 1 node; no node has the label rol"},
		{loader, append(insmod, "--select", `role == "db"`, "--wait"), false, "module count: --select chooses none of 1 node\n"},
		{loader, append(insmod, "--select", `role == "db"`, "--max-unavailable", "10%"), false, "module count: --select chooses none of 1 node\n"},
		{loader, append(insmod, "--select", `role == `), true, "--select: it is not an expression: it ends too early\n  role == \n"},
		{loader, append(insmod, "--select", `name`), true, "--select: it is of type string, not true or false; compare it with something"},
		{loader, append(insmod, "--max-unavailable", "200%"), true, `--max-unavailable "200%": give a number of nodes above 0, or 1% to 100%`},
		{loader, append(insmod, "--select", `"`+strings.Repeat("x", fleet.MaxSelect)+`" == ""`), true, "--select: the selection has 4104 bytes and may have 4096: give the nodes a label, and select by that"},
		{loader, append(insmod, "--valid", "0s"), true, "--valid 0s: give a time above 0"},
		{loader, []string{"rmmod", "--key", key, "early", "--valid", "-1h"}, true, "--valid -1h0m0s: give a time above 0"},
		{loader, append(insmod, "--wait"), true, "count: refused on 1 node: "},
		{loader, append(insmod, "--name", "a b"), true, `"a b"`},
		{loader, []string{"rmmod", "--key", key, "nothing"}, true, "the hub has no entry of it"},
		{reader, []string{"replay", "nothing"}, true, `there is no recording "nothing"; 'taskwatch fleet recordings' lists those that there are`},
		{reader, []string{"watch", "--record", "no/thing"}, true, "a name has 1 to 32 letters, digits, '_' and '-'"},
		{reader, []string{"watch", "--record", "large", "--record-size", "5GiB"}, true, "give 1 MiB to 1024 MiB"},
		{reader, []string{"recordings", "--remove", "no thing"}, true, `there is no recording "no thing"`},
		{reader, []string{"watch", "--where", "kind =="}, true, "--where: "},
		{reader, []string{"watch", "--where", ""}, true, "--where: the expression is empty"},
		{reader, []string{"watch", "--where", `kind == "exec" && kind == "exit"`}, true, "no event can match"},
		{reader, []string{"watch", "--where", `env.exists(e, e == "KEY=1")`}, true, "a question to a fleet may not read env, which only root may see"},
		{reader, []string{"watch", "--where", "argv.exists(a, argv.exists(b, argv.exists(c, a + b == c)))"}, true, "--where: it may cost too much; leave out what is nested"},
	} {
		out, failed := c.who.fleet(c.args...)
		if failed != c.fails || !strings.Contains(out, c.says) {
			t.Errorf("%q ends with failure %v, want %v, and should say %q:\n%s", c.args, failed, c.fails, c.says, out)
		}
		printable(t, out)
	}
	for _, list := range []string{"nodes", "lsmod", "audit", "recordings"} {
		out, failed := reader.fleet(list)
		if failed {
			t.Errorf("%s: %s", list, out)
		}
		printable(t, out)
		if out, failed = reader.fleet(list, "-f", "json"); failed || !json.Valid([]byte(out)) {
			t.Errorf("%s in JSON: %s", list, out)
		}
	}
}

// printable holds what is printed to what a terminal may be sent.
func printable(t *testing.T, text string) {
	t.Helper()
	if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' && r != '\n' }) || strings.Contains(text, "\n2 ") {
		t.Errorf("what a node is called reaches the terminal:\n%q", text)
	}
}

// A reader whose rights are taken away while it watches is told why it sees nothing more.
func TestWatcherIsRevoked(t *testing.T) {
	h := startHub(t)
	reader := newUser(t, h, buildTaskwatch(t, runtime.GOARCH), fleet.Reader, "bob")
	watch, said := reader.start("watch")
	ended := make(chan error, 1)
	go func() { ended <- watch.Wait() }()
	eventually(t, "it watches", func() bool { return strings.Contains(said.String(), "the fleet has no nodes yet") })
	if _, err := Revoke(h.dir, "bob"); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err == nil || !strings.Contains(said.String(), "or was revoked") {
			t.Errorf("it ends with %v, and says\n%s", err, said.String())
		}
	case <-time.After(patient):
		t.Errorf("it goes on, and says\n%s", said.String())
		_ = watch.Process.Kill()
		<-ended
	}
}

// insmod with a lease says that it continues, and what ends it; then it wants the module
// unloaded.
func TestLeaseInForeground(t *testing.T) {
	testutil.RequireTool(t, "minisign")
	h := startHub(t)
	tm := newTeam(t, h)
	loader := newUser(t, h, buildTaskwatch(t, runtime.GOARCH), fleet.Loader, "alice")
	command(t, loader.dir, "minisign", "-G", "-W", "-p", "team.pub", "-s", "team.key")
	insmod, said := loader.start("insmod", "--key", "team.key", "--lease", "3s", "acct")
	wanted := func() bool {
		all, err := tm.Wanted(t.Context())
		return err == nil && all["acct"] != nil && !all["acct"].Absent
	}
	eventually(t, "it says what it does", func() bool {
		return strings.Contains(said.String(), "acct: the lease of 3s is renewed until Ctrl-C, which unloads the module\n")
	})
	if !wanted() {
		t.Error("the module is not wanted")
	}
	if err := insmod.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := insmod.Wait(); err != nil || wanted() {
		t.Errorf("it ends with %v, and the module is wanted: %v\n%s", err, wanted(), said.String())
	}
}

// A command that waits says that the hub is away, and when it is there again.
func TestWatchWhileHubIsAway(t *testing.T) {
	h := startHub(t)
	reader := newUser(t, h, buildTaskwatch(t, runtime.GOARCH), fleet.Reader, "bob")
	watch, said := reader.start("watch")
	says := func(what string) {
		t.Helper()
		eventually(t, "it says "+what, func() bool { return strings.Contains(said.String(), what) })
	}
	says("the fleet has no nodes yet")
	h.kill()
	says("the connection to the hub " + reader.hub[1] + " is lost, and is tried again\n")
	h.start(t)
	says("the hub is there again\n")
	if err := watch.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := watch.Wait(); err != nil || strings.Count(said.String(), "\n") != 3 {
		t.Errorf("it ends with %v, and says\n%s", err, said.String())
	}
}
