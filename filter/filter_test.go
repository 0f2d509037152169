package filter

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/enrich"
	"github.com/taskwatch/taskwatch/internal/randevent"
	"github.com/taskwatch/taskwatch/process"
)

func parse(t testing.TB, expr string) *Filter {
	t.Helper()
	f, err := Parse(expr, Options{})
	if err != nil {
		t.Fatalf("%s: %v", expr, err)
	}
	return f
}

// some events that differ in what a question may be about.
func events() map[string]*taskwatch.Event {
	task := &taskwatch.Task{
		PID: 10, TID: 11, PPID: 5, Comm: "make", Exe: "/usr/bin/make", Argv: []string{"make", "--force", "all"}, Cwd: "/src",
		StartNS: 5e9, UID: taskwatch.IDs{0, 1, 2, 3}, GID: taskwatch.IDs{4, 4, 4, 4}, Cgroup: "/user.slice",
	}
	return map[string]*taskwatch.Event{
		"exec": {Kind: taskwatch.Exec, Task: task, OldExe: "/bin/sh", Seq: 7, Source: "bpf", Time: time.Unix(100, 0)},
		"exit": {Kind: taskwatch.Exit, Val: 256, Task: task, Exit: taskwatch.ExitStatus{Code: 1, Group: true},
			Rusage: taskwatch.Rusage{UTimeNS: 2e9, MaxRSS: 1 << 20}},
		"uid":  {Kind: taskwatch.UID, Task: task, OldIDs: taskwatch.IDs{9, 9, 9, 9}, Cause: taskwatch.CauseSyscall},
		"free": {Kind: taskwatch.Free, Task: task, LifetimeNS: 3e9},
		"bare": {Kind: taskwatch.Exec, Task: task, Missing: taskwatch.FieldExe | taskwatch.FieldArgv | taskwatch.FieldUID},
	}
}

func TestMatch(t *testing.T) {
	all := events()
	for _, c := range []struct {
		expr, event string
		want        Answer
	}{
		{`kind == "exec" && user == "root" && !exe.startsWith("/usr/sbin/")`, "exec", Yes},
		{`kind == "exec" && exe.startsWith("/usr/sbin/")`, "exec", No},
		{`argv.exists(a, a == "--force")`, "exec", Yes},
		{`argv.exists(a, a == "--none")`, "exec", No},
		{`args.contains("--force all")`, "exec", Yes},
		{`argv[7] == "x"`, "exec", No}, // there is none
		{`exit.code != 0 || exit.signal != 0`, "exit", Yes},
		{`exit.code != 0 || exit.signal != 0`, "exec", No},
		{`exit.code == 0`, "exit", No},
		{`exit.code != 0 || kind == "exec"`, "exec", Yes}, // || absorbs
		{`kind == "exec" || exit.code != 0`, "exec", Yes},
		{`!(exit.code == 0)`, "exec", No}, // not of this kind is not true
		{`has(exit.code)`, "exec", No},
		{`has(exit.code)`, "exit", Yes},
		{`!has(exit.code)`, "exec", Yes},
		{`has(old_exe)`, "exec", Yes},
		{`has(old_exe)`, "exit", No},
		{`!has(lifetime_ns) && has(argv)`, "exec", Yes},
		{`has(exe)`, "bare", Yes}, // its kind has it
		{`has(exit)`, "exec", No},
		{`has(exit) && !has(old)`, "exit", Yes},
		{`has(container.labels) && has(container)`, "exec", Yes},
		{`has(rusage) ? rusage.maxrss_bytes > 1e3 : comm == "make"`, "exit", Yes},
		{`has(rusage) ? rusage.maxrss_bytes > 1e3 : comm == "make"`, "exec", Yes},
		{`[exit, exit].exists(e, e.code == 1)`, "exit", Yes},
		{`(kind == "exit" ? exit : exit).code == 1`, "exit", Yes},
		{`[exit].all(e, e.code == 1)`, "exec", No},
		{`argv.exists(comm, .comm == comm)`, "exec", Yes}, // the list's variable hides the field
		{`pid < 10.5 && pid > 9.5 && rusage.utime_ns >= 2e9`, "exit", Yes},
		{`time.getHours() == 0 && time.getMinutes() == 1`, "exec", Yes}, // in UTC, wherever this runs
		{`time + duration("1h") > timestamp("1970-01-01T01:00:00Z")`, "exec", Yes},
		{`rusage.utime + duration("-2s") == duration("0s")`, "exit", Yes},
		{`uid == 0`, "exec", Yes},
		{`euid == 1 && suid == 2 && fsuid == 3 && uids == [0, 1, 2, 3]`, "exec", Yes},
		{`3 in uids`, "exec", Yes},
		{`uid in [5, 6]`, "exec", No},
		{`uid in [5, 0]`, "exec", Yes},
		{`old[0] == 9 && cause == "syscall"`, "uid", Yes},
		{`old[0] == 9`, "exec", No},
		{`lifetime > duration("2s") && lifetime_ns == 3000000000`, "free", Yes},
		{`rusage.utime == duration("2s") && rusage.utime_ns == 2000000000 && rusage.maxrss_bytes > 1000`, "exit", Yes},
		{`start == duration("5s")`, "exec", Yes},
		{`time == timestamp("1970-01-01T00:01:40Z")`, "exec", Yes},
		{`tid != pid`, "exec", Yes},
		{`exe == "/x"`, "bare", Unknown},
		{`uid == 4242`, "bare", Unknown},
		{`uid == 4242 && pid == 11`, "bare", No}, // false whatever the uid is
		{`uid == 4242 || pid == 10`, "bare", Yes},
		{`exe == "/x" || comm == "make"`, "bare", Yes},
		{`exe == "/x" && comm == "other"`, "bare", No},
		{`!(exe == "/x")`, "bare", Unknown},
		{`argv.exists(a, a == "x")`, "bare", Unknown},
		{`size(argv) == 0`, "bare", Unknown},
		{`exe == "/x" ? true : true`, "bare", Unknown},
		{`exe == "/x" && exit.code == 0`, "bare", No},         // an error and an unknown: it cannot become true
		{`!(comm == "other" && exit.code == 0)`, "exec", Yes}, // && absorbs too
		{`container.id == "" && unit == "" && slice == "user.slice" && container.name == ""`, "exec", Yes},
		{`container.user == ""`, "exec", Yes},
		{`true`, "bare", Yes},
		{`parent.exe == "/bin/sh"`, "exec", Unknown},
		{`tree(5)`, "exec", Unknown},
	} {
		f := parse(t, c.expr)
		if got := f.Match(taskwatch.Item{Event: all[c.event]}, nil); got != c.want {
			t.Errorf("%s of %s: %v, want %v", c.expr, c.event, got, c.want)
		}
	}
}

func TestContainer(t *testing.T) {
	id := strings.Repeat("ab", 32)
	ev := &taskwatch.Event{Kind: taskwatch.Exec, Task: &taskwatch.Task{PID: 1, Cgroup: "/system.slice/docker-" + id + ".scope"}}
	names := enrich.NewNames(runtime{})
	defer names.Close()
	for _, c := range []struct {
		expr           string
		without, asked Answer
	}{
		{`container.id == "` + id + `" && container.runtime == "docker"`, Yes, Yes},
		{`container.id == "" || container.runtime == "podman"`, No, No},
		{`container.name == "web"`, Unknown, Yes},
		{`container.labels["tier"] == "front" && container.image.startsWith("nginx")`, Unknown, Yes},
		{`container.labels["none"] == "x"`, Unknown, No},
		{`kind == "exit" && container.name == "web"`, No, No},
		{`kind == "exit" && container.user == "root"`, No, No},
	} {
		it := taskwatch.Item{Event: ev}
		if got := parse(t, c.expr).Match(it, nil); got != c.without {
			t.Errorf("%s, and nobody to ask: %v, want %v", c.expr, got, c.without)
		}
		f, err := Parse(c.expr, Options{Names: names})
		if err != nil {
			t.Fatal(err)
		}
		got := f.Match(it, nil)
		for deadline := time.Now().Add(time.Minute); got == Unknown && time.Now().Before(deadline); got = f.Match(it, nil) {
			time.Sleep(time.Millisecond)
		}
		if got != c.asked {
			t.Errorf("%s: %v, want %v", c.expr, got, c.asked)
		}
	}
	user, err := Parse(`container.user == "root"`, Options{Names: names})
	if err != nil {
		t.Fatal(err)
	}
	if got := user.Match(taskwatch.Item{Event: ev}, nil); got != Unknown { // the process is in no container
		t.Errorf("the user of a container whose root is not known: %v", got)
	}
	if user.Kinds().Has(taskwatch.Init) {
		t.Error("a task that has no pid yet leads to a container's users")
	}
	gone := &taskwatch.Event{Kind: taskwatch.Exec, Task: ev.Task, Missing: taskwatch.FieldCgroup}
	if got := parse(t, `container.id == ""`).Match(taskwatch.Item{Event: gone}, nil); got != Unknown {
		t.Errorf("of an unknown cgroup: %v", got)
	}
}

type runtime struct{}

func (runtime) Lookup(context.Context, string) (enrich.Container, error) {
	return enrich.Container{Name: "web", Image: "nginx:1", Labels: map[string]string{"tier": "front"}}, nil
}

func TestItemsThatAreNoEvents(t *testing.T) {
	ev := events()["exec"]
	for _, c := range []struct {
		expr string
		it   taskwatch.Item
		want Answer
	}{
		{`uid == 7`, taskwatch.Item{Loss: &taskwatch.Loss{Count: 1}}, Yes},
		{`comm == "make"`, taskwatch.Item{Failure: &taskwatch.Failure{Kind: taskwatch.Exec, Event: ev}}, Yes},
		{`comm == "cc"`, taskwatch.Item{Failure: &taskwatch.Failure{Kind: taskwatch.Exec, Event: ev}}, No},
		{`kind == "emit" && pid == 10`, taskwatch.Item{Record: &taskwatch.Record{Task: ev.Task}}, Yes},
		{`kind == "exec"`, taskwatch.Item{Record: &taskwatch.Record{Task: ev.Task}}, No},
		{`pid == 10`, taskwatch.Item{Record: &taskwatch.Record{}}, Unknown},
		{`pid == 10`, taskwatch.Item{Record: &taskwatch.Record{Task: ev.Task, Missing: taskwatch.FieldPID}}, Unknown},
	} {
		if got := parse(t, c.expr).Match(c.it, nil); got != c.want {
			t.Errorf("%s of %+v: %v, want %v", c.expr, c.it, got, c.want)
		}
	}
}

func TestAncestors(t *testing.T) {
	var tree process.Tree
	tree.Adopt(1, 0, process.Command{Exe: "/init"})
	tree.Adopt(5, 1, process.Command{Exe: "/sshd", Argv: []string{"sshd", "-D"}})
	p := tree.Take(taskwatch.Item{Event: &taskwatch.Event{Kind: taskwatch.Clone, Task: &taskwatch.Task{PID: 10, TID: 10, PPID: 5}}}).Process
	var short process.Tree
	top := short.Adopt(10, 5, process.Command{Exe: "/sh"})
	ev := &taskwatch.Event{Kind: taskwatch.Exec, Task: &taskwatch.Task{PID: 10, TID: 10, PPID: 5}}
	for _, c := range []struct {
		expr         string
		whole, short Answer // with all ancestors known, and with none
	}{
		{`parent.exe == "/sshd"`, Yes, Unknown},
		{`parent.argv.exists(a, a == "-D")`, Yes, Unknown},
		{`parent.comm == "x"`, Unknown, Unknown}, // nobody told
		{`ancestors.exists(p, p.exe == "/init")`, Yes, Unknown},
		{`ancestors.exists(p, p.exe == "/bash")`, No, Unknown},
		{`ancestors.exists(p, p.pid == 5)`, Yes, Unknown},
		{`size(ancestors) == 2`, Yes, Unknown},
		{`ancestors.size() > 2`, No, Unknown},
		{`ancestors[0].pid == 5`, Yes, Unknown},
		{`ancestors[1].exe == "/init"`, Yes, Unknown},
		{`ancestors[2].exe == "/x"`, No, Unknown}, // there are two
		{`ancestors.all(p, p.exe != "/x")`, Yes, Unknown},
		{`size(ancestors.filter(p, p.exe == "/init")) == 1`, Yes, Unknown},
		{`ancestors.exists_one(p, p.pid == 5)`, Yes, Unknown},
		{`tree(1) && tree(5) && tree(10)`, Yes, Unknown},
		{`tree(10)`, Yes, Yes},
		{`tree(6)`, No, Unknown},
		{`tree(6) || pid == 10`, Yes, Yes},
	} {
		f := parse(t, c.expr)
		if !f.Tree() && c.expr != `pid == 10` {
			t.Errorf("%s does not ask for the tree", c.expr)
		}
		if got := f.Match(taskwatch.Item{Event: ev}, p); got != c.whole {
			t.Errorf("%s: %v, want %v", c.expr, got, c.whole)
		}
		if got := f.Match(taskwatch.Item{Event: ev}, top); got != c.short {
			t.Errorf("%s, of a process whose parent is unknown: %v, want %v", c.expr, got, c.short)
		}
	}
	// The first process has no parent, which is no lack of knowledge.
	first := tree.At(1)
	if got := parse(t, `parent.exe == "/x"`).Match(taskwatch.Item{Event: ev}, first); got != No {
		t.Errorf("the parent of init: %v", got)
	}
	// A task that has no pid yet is its maker's child.
	born := &taskwatch.Event{Kind: taskwatch.Init, Task: &taskwatch.Task{PPID: 5}}
	if got := parse(t, `parent.exe == "/sshd"`).Match(taskwatch.Item{Event: born}, tree.Of(born.Task)); got != Yes {
		t.Errorf("the parent of what has no pid: %v", got)
	}
}

// What was cut off is unknown, and so is the last piece, which may be cut itself.
func TestCut(t *testing.T) {
	task := &taskwatch.Task{PID: 10, TID: 10, PPID: 5, Argv: []string{"ld", "-o", "a.o", "b."}, ArgvCut: true}
	ev := &taskwatch.Event{Kind: taskwatch.Exec, Task: task, Extra: &taskwatch.Extra{Given: taskwatch.FieldEnv, Env: []string{"HOME=/", "PATH=/us"}, EnvCut: true}}
	var tree process.Tree
	p := tree.Adopt(10, 5, process.Command{Exe: "/sh"})
	tree.Adopt(5, 1, process.Command{Exe: "/make", Argv: []string{"make", "al"}, Cut: true})
	tree.Adopt(10, 5, process.Command{})
	for _, c := range []struct {
		expr string
		want Answer
	}{
		{`argv.exists(a, a == "-o")`, Yes},
		{`argv.exists(a, a == "--force")`, Unknown},
		{`argv.exists(a, a == "b.")`, Unknown},
		{`argv.all(a, a != "-o")`, No},
		{`argv.all(a, a != "--force")`, Unknown},
		{`argv.exists_one(a, a == "-o")`, Unknown},
		{`size(argv.filter(a, a == "-o")) == 1`, Unknown},
		{`argv.map(a, a + "x").exists(a, a == "-ox")`, Unknown},
		{`"-o" in argv`, Yes},
		{`"--force" in argv`, Unknown},
		{`argv[1] == "-o"`, Yes},
		{`argv[1] == "-c"`, No},
		{`argv[3] == "b."`, Unknown},
		{`argv[9] == "x"`, Unknown},
		{`argv[-1] == "x"`, No},
		{`size(argv) == 4`, Unknown},
		{`argv.size() > 2`, Unknown},
		{`argv == ["cc", "-o", "a.o"]`, No},
		{`argv == ["ld"]`, No},
		{`argv == ["ld", "-o", "a.o", "b.o"]`, Unknown},
		{`argv + ["x"] == ["x"]`, Unknown},
		{`["cc", "-o", "a.o"] == argv`, No},
		{`["ld", "-o", "a.o", "b.o"] == argv`, Unknown},
		{`["ld", "-o", "a.o", "b.o"] != argv`, Unknown},
		{`["ld"] != argv`, Yes},
		{`argv != ["ld", "-o", "a.o", "b.o"]`, Unknown},
		{`argv != ["ld"]`, Yes},
		{`parent.argv == argv`, Unknown},
		{`["x"] + argv == ["x", "ld"]`, Unknown},
		{`["x"] + parent.argv == ["x"]`, Unknown},
		{`args == "ld -o a.o b."`, Unknown},
		{`args == "x"`, Unknown},
		{`args.contains("--force")`, Unknown},
		{`args.contains("--force") && pid == 11`, No},
		{`argv_cut`, Yes},
		{`env.exists(v, v.startsWith("HOME="))`, Yes},
		{`env.exists(v, v.startsWith("SECRET="))`, Unknown},
		{`env.exists(v, v == "PATH=/us")`, Unknown},
		{`size(env) == 2`, Unknown},
		{`parent.argv[0] == "make"`, Yes},
		{`parent.argv.exists(a, a == "install")`, Unknown},
		{`size(parent.argv) == 2`, Unknown},
		{`ancestors.exists(p, "make" in p.argv)`, Yes},
	} {
		if got := parse(t, c.expr).Match(taskwatch.Item{Event: ev}, p); got != c.want {
			t.Errorf("%s: %v, want %v", c.expr, got, c.want)
		}
	}
	whole := &taskwatch.Task{PID: 10, TID: 10, PPID: 5, Argv: task.Argv}
	for expr, want := range map[string]Answer{`size(argv) == 4`: Yes, `argv.exists(a, a == "--force")`: No, `args == "ld -o a.o b."`: Yes, `["ld", "-o", "a.o", "b."] == argv`: Yes, `["x"] + argv == ["x", "ld", "-o", "a.o", "b."]`: Yes, `["x"] + ["y"] == ["x", "y"]`: Yes, `argv.exists(a, size(a) == 2)`: Yes} {
		if got := parse(t, expr).Match(taskwatch.Item{Event: &taskwatch.Event{Kind: taskwatch.Exec, Task: whole}}, p); got != want {
			t.Errorf("%s of all arguments: %v, want %v", expr, got, want)
		}
	}
}

func TestKindsAndReads(t *testing.T) {
	for _, c := range []struct {
		expr  string
		kinds string
		reads taskwatch.Fields
		tree  bool
	}{
		{`kind == "exec" && exe == "/x"`, "exec", taskwatch.FieldExe, false},
		{`kind in ["exec", "exit"]`, "exec,exit", 0, false},
		{`exit.code != 0`, "exit", taskwatch.FieldExitCode, false},
		{`exit.code != 0 || kind == "uid"`, "uid,exit", taskwatch.FieldExitCode, false},
		{`has(exit.code)`, "exit", taskwatch.FieldExitCode, false},
		{`has(exit)`, "exit", 0, false},
		{`has(old_exe) && uid == 1`, "exec", taskwatch.FieldOldExe | taskwatch.FieldUID, false},
		{`[exit].exists(e, e.code == 3)`, "exit", taskwatch.FieldExitCode, false},
		{`(final ? rusage : rusage).minflt > 1`, "init,clone,exec,uid,gid,exit,free", taskwatch.FieldMinFlt, false},
		{`[1].exists(uid, .uid == uid)`, "init,clone,exec,uid,gid,exit,free", taskwatch.FieldUID, false},
		{`rusage.utime > duration("1s")`, "exit", taskwatch.FieldUTime, false},
		{`pid == 5`, "clone,exec,uid,gid,exit,free", taskwatch.FieldPID, false}, // init has none
		{`euid == 0 || user == "x"`, "init,clone,exec,uid,gid,exit,free", taskwatch.FieldUID, false},
		{`tree(5)`, "init,clone,exec,uid,gid,exit,free", 0, true},
		{`kind == "exec" && kind == "exit"`, "", 0, false},
		{`argv.exists(x, x == exe)`, "init,clone,exec,uid,gid,exit,free", taskwatch.FieldArgv | taskwatch.FieldExe, false},
		{`parent.exe == "/x" && kind != "free"`, "init,clone,exec,uid,gid,exit", 0, true},
	} {
		f := parse(t, c.expr)
		if got := f.Kinds().String(); got != c.kinds || f.Reads() != c.reads || f.Tree() != c.tree {
			t.Errorf("%s: kinds %s, reads %s, tree %v; want %s, %s, %v", c.expr, got, f.Reads(), f.Tree(), c.kinds, c.reads, c.tree)
		}
	}
}

// What is no event can be all that an expression is about.
func TestOtherItems(t *testing.T) {
	for _, c := range []struct {
		expr                   string
		emits, failed, nothing bool
	}{
		{`kind == "emit"`, true, false, false},
		{`kind == "exec-failed" && comm == "sh"`, false, true, false},
		{`comm == "sh"`, true, true, false},
		{`exit.code == 0`, false, false, false},
		{`kind == "exec" && kind == "exit"`, false, false, true},
	} {
		f := parse(t, c.expr)
		if f.Records() != c.emits || f.FailedExecs() != c.failed || f.Never() != c.nothing {
			t.Errorf("%s: records %v, failed execs %v, nothing %v; want %v, %v, %v", c.expr, f.Records(), f.FailedExecs(), f.Never(), c.emits, c.failed, c.nothing)
		}
	}
}

func TestErrors(t *testing.T) {
	for _, c := range []struct{ expr, want string }{
		{`exee == "/x"`, "there is no \"exee\"; did you mean exe?\n  exee == \"/x\"\n  ^"},
		{`pid == 1 && usr == "x"`, "there is no \"usr\"; did you mean user?\n  pid == 1 && usr == \"x\"\n              ^"},
		{`code == 1`, "there is no \"code\"; did you mean exit.code?\n  code == 1\n  ^"},
		{`ExitCode == 1`, "did you mean exit.code?"},
		{`utime_ns > 5`, "did you mean rusage.utime_ns or before.utime_ns?"},
		{`caps_effective == 1`, "did you mean caps.effective?"},
		{`exit.cod == 1`, "there is no field \"cod\" here; did you mean code?\n  exit.cod == 1\n      ^"},
		{`uid == "root"`, "== cannot be between int and string; a number stands without quotes"},
		{`user == root`, `there is no "root"; `},
		{`kind = "exec"`, "to compare is =="},
		{`uid`, "it is of type int, not true or false"},
		{`lifetime > 5`, `a duration is written duration("1.5s")`},
		{`kind == "exec" &&`, "it is not an expression: "},
		{``, "it is not an expression: "},
		{`tree("5")`, "tree() is about the number of one process; write tree(4711)"},
		{`tree()`, "tree() is about the number of one process; write tree(4711)"},
		{`pid.code == 1`, "what is an int has no fields"},
		{`exe.startswith("/usr")`, "there is no function \"startswith\"; did you mean startsWith?\n  exe.startswith(\"/usr\")\n      ^"},
		{`comm.match("x")`, "did you mean matches?"},
		{`foo(1)`, "there is no function \"foo\"; 'taskwatch help filter' lists"},
		{`kind == exec`, "there is no \"exec\"; a text stands in quotes: kind == \"exec\""},
		{`uid == 0 and pid == 1`, "; that both are true is &&"},
		{`uid == 0 & pid == 1`, "; that both are true is &&"},
		{`uid == 0 or pid == 1`, "; that one of two is true is ||"},
		{`not uid == 0`, "; to negate is !"},
		{`uid == 0 || user = "x"`, "; to compare is =="},
		{`comm ~ "x"`, "to compare with a pattern is matches"},
		{`comm like "x"`, "to compare with a pattern is matches"},
		{`comm == 'sh`, "; a quote is not closed"},
		{`comm == "sh`, "; a quote is not closed"},
		{`env["HOME"] == "/"`, "what is a list(string) is not indexed by a string; ask the list: env.exists("},
		{`uid == 0 || kind == "exce"`, "there is no kind \"exce\"; there are init, clone, exec, uid, gid, exit, free, emit, exec-failed\n  uid == 0 || kind == \"exce\"\n                      ^"},
		{`kind in ["exec", "execve"]`, "there is no kind \"execve\"; there are init"},
		{`"fork" != kind`, "there is no kind \"fork\"; there are init, clone, exec, uid, gid, exit, free, emit, exec-failed"},
		{`parent == 3`, "== cannot be between process and int; compare a field of it: parent.pid"},
		{`comm.contains(5)`, "contains() cannot be applied to string, int"},
		{`comm == "世界" && exee == "x"`, "\n  comm == \"世界\" && exee == \"x\"\n                    ^"},
		{strings.Repeat("uid == 0 || ", 30) + "exee == exe" + strings.Repeat(" || uid == 1", 30), "\n  …" + strings.Repeat("uid == 0 || ", 5) + "exee == exe" + strings.Repeat(" || uid == 1", 4) + " …\n" + strings.Repeat(" ", 63) + "^"},
		{`has(exee)`, "there is no field \"exee\" here; did you mean exe?\n  has(exee)\n  "},
		{`has(foo)`, "there is no field \"foo\" here; 'taskwatch help filter' lists the names"},
		{`uid == 0 || has(exit.foo)`, "there is no field \"foo\" here; there are code, signal, core, group"},
		{`uid ==`, "it is not an expression: it ends too early\n  uid ==\n        ^"},
		{`(uid == 0`, "it is not an expression: ) is missing at its end"},
		{`uid == 0)`, "it is not an expression: ) is not understood here"},
		{`uid <> 0`, "that two differ is !="},
		{`uid is 0`, "to compare is =="},
		{`NOT uid == 0`, "to negate is !"},
		{`len(argv) == 1`, "there is no function \"len\"; write size(argv)"},
		{`argv.length == 1`, "what is a list(string) has no fields; ask the list: argv.exists("},
		{`argv.contains("x")`, "write \"x\" in argv"},
		{`exit == 1`, "== cannot be between exit and int; compare a field of it: exit.code, exit.signal, exit.core"},
		{`exe == "` + strings.Repeat("x", 120_000) + `"`, "it has 120009 characters, of 100000 at most"},
		{`has(uid == 0)`, "has() asks whether an event has a field; write has(exit.code)\n  has(uid == 0)\n"},
		{`has("exe")`, "write has(exit.code)"},
		{`has(parent)`, "write has(exit.code)"},
		{`lifetime > duration("5")`, "this is not a duration; write hours, minutes, seconds"},
		{`lifetime > duration("1 s")`, "\n  lifetime > duration(\"1 s\")\n                      ^"},
		{`time > timestamp("yesterday")`, "this is not a time; write date, time and zone"},
		{`comm.matches("[")`, "this is not a regular expression; a special character stands for itself"},
		{`uid in [0, "root"]`, "a list has values of one type, and not an int and a string"},
		{`uid == 1.5`, "== cannot be between int and double; write whole numbers"},
		{`uid == 5u`, "== cannot be between int and uint; write whole numbers"},
		{`startsWith(exe, "/usr")`, "write exe.startsWith(\"/usr/\")"},
		{`argv.exists("--force")`, "exists is written differently; write argv.exists(a, a == \"x\")"},
		{`exists(argv, "--force")`, "exists is written differently"},
		{strings.Repeat("!(", 400) + "true" + strings.Repeat(")", 400), "it is nested too deeply; leave out parentheses"},
		{`user == root`, "there is no \"root\"; 'taskwatch help filter' lists the names; a text stands in quotes"},
		{`user == comn`, "there is no \"comn\"; did you mean comm? A text stands in quotes\n"},
		{`ancestors.exists(p, p.name == "sh")`, "there is no field \"name\" here; there are pid, exe, comm, argv\n"},
		{`ancestors.filter(who, who.com == "sh").size() > 0`, "there is no field \"com\" here; did you mean comm?\n"},
		{`argv == "x"`, "== cannot be between list(string) and string; write \"x\" in argv\n"},
		{`"x" == argv`, "; write \"x\" in argv\n"},
		{`"a" in exe`, "in cannot be between string and string; write exe.contains(\"x\"), or user in [\"x\", \"y\"]\n"},
		{`!exit.code`, "! cannot be applied to int; compare it with something\n"},
		{`old.uid == 2`, "what is a list(int) has no fields; real, effective and saved id"},
		{`uid == 99999999999999999999`, "this number is too large; numbers end with 9223372036854775807\n"},
		{`size(ancestors) == "x"`, "== cannot be between int and string"},
		{`ancestors.exists(argv, size(argv) > 1)`, "size() cannot be applied to process"},
		{`ns.bla == 2`, "there is no field \"bla\" here; there are vpid, mnt, pid, net, user"},
	} {
		_, err := Parse(c.expr, Options{})
		var e *Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.expr, err, c.want)
		}
	}
}

func TestCostLimit(t *testing.T) {
	const limit = 100_000
	for expr, ok := range map[string]bool{
		`argv.exists(a, a == "--force")`:                         true,
		`argv.exists(a, argv.exists(b, argv.exists(c, a == c)))`: false,
	} {
		if _, err := Parse(expr, Options{CostLimit: limit}); (err == nil) != ok {
			t.Errorf("%s: %v", expr, err)
		}
	}
	// What is larger than usual is found while it is evaluated.
	f, err := Parse(`argv.exists(a, a == "x")`, Options{CostLimit: limit})
	if err != nil {
		t.Fatal(err)
	}
	ev := &taskwatch.Event{Kind: taskwatch.Exec, Task: &taskwatch.Task{PID: 1, Argv: make([]string, limit)}}
	if got := f.Match(taskwatch.Item{Event: ev}, nil); got != Unknown {
		t.Errorf("what is too dear: %v, want unknown", got)
	}
}

// What is decided without evaluation is decided as with it, and no expression
// lets an event through of a kind that Kinds leaves out.
func TestPlainIsTheSame(t *testing.T) {
	r := rand.New(rand.NewPCG(17, 1))
	exprs := []string{
		`kind == "exec" && uid == 4242`, `4242 == uid`, `uid in [1, 2, 3]`, `comm == "make" && pid == 5 && kind == "exec"`,
		`old_exe == "x"`, `lifetime_ns == 5`, `ppid == 5 && comm == "fif"`, `kind == "exec" && exit.code == 0`,
	}
	for _, expr := range exprs {
		f := parse(t, expr)
		if f.plain == nil {
			t.Errorf("%s has nothing plain", expr)
		}
		slow := parse(t, expr)
		slow.plain, slow.whole = nil, false
		for range 300 {
			k := taskwatch.Kind(r.IntN(taskwatch.NumKinds))
			ev := randevent.New(r, k)
			if r.IntN(2) == 0 {
				ev.Task.PID, ev.Task.PPID, ev.Task.UID[0], ev.Task.Comm, ev.OldExe, ev.LifetimeNS = 5, 5, []uint32{2, 4242}[r.IntN(2)], "make", "x", 5
			}
			some, others := taskwatch.Fields(r.Uint64()), taskwatch.Fields(r.Uint64())
			ev.Missing = some & others & taskwatch.FieldsOf(k)
			it := taskwatch.Item{Event: ev}
			got, want := f.Match(it, nil), slow.Match(it, nil)
			if got != want {
				t.Fatalf("%s: %v, and %v by evaluation, of %+v", expr, got, want, ev)
			}
			if got != No && !f.Kinds().Has(k) {
				t.Fatalf("%s matches %v, which Kinds leaves out", expr, k)
			}
		}
	}
}

func BenchmarkPlain(b *testing.B) {
	f := parse(b, `uid == 4242`)
	it := taskwatch.Item{Event: events()["exec"]}
	b.ReportAllocs()
	for b.Loop() {
		f.Match(it, nil)
	}
}

func BenchmarkEvaluated(b *testing.B) {
	f := parse(b, `kind == "exec" && uid == 0 && !exe.startsWith("/usr/sbin/")`)
	it := taskwatch.Item{Event: events()["exec"]}
	b.ReportAllocs()
	for b.Loop() {
		f.Match(it, nil)
	}
}

func BenchmarkUnknown(b *testing.B) {
	f := parse(b, `!exe.startsWith("/usr/sbin/")`)
	it := taskwatch.Item{Event: events()["bare"]}
	b.ReportAllocs()
	for b.Loop() {
		f.Match(it, nil)
	}
}
