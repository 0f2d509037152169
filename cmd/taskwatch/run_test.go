package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/internal/watchtest"
)

func TestRunExitStatus(t *testing.T) { eachSource(t, testRunExitStatus) }

func testRunExitStatus(t *testing.T, source string) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return file
	}
	plain := write("plain", "x", 0o644)
	noInterpreter := write("nointerpreter", "#!/no/such/interpreter\n", 0o755)
	noFormat := write("noformat", "echo\n", 0o755)
	for _, c := range []struct {
		args   []string
		status int
		says   string // on standard error; "" for nothing but events
	}{
		{[]string{"true"}, 0, ""},
		{[]string{"--", "true"}, 0, ""},
		{[]string{"sh", "-c", "exit 3"}, 3, ""},
		{[]string{"sh", "-c", "exit 255"}, 255, ""},
		{[]string{"sh", "-c", "kill -TERM $$"}, 128 + 15, ""},
		{[]string{"sh", "-c", "kill -KILL $$"}, 128 + 9, ""},
		{[]string{"sh", "-c", "ulimit -c 0; kill -SEGV $$"}, 128 + 11, ""},

		{[]string{"no-such-command"}, 127, "taskwatch: no-such-command: command not found\n"},
		{[]string{""}, 127, "taskwatch: '': command not found\n"},
		{[]string{dir + "/none"}, 127, "taskwatch: " + dir + "/none: no such file or directory\n"},
		{[]string{noInterpreter}, 127, "the interpreter that it names"},
		{[]string{plain}, 126, "taskwatch: " + plain + ": permission denied\n"},
		{[]string{dir}, 126, "taskwatch: " + dir + ": is a directory\n"},
		{[]string{noFormat}, 126, "exec format error (a script needs #!"},

		{nil, 125, "no command given"},
		{[]string{"-e", "exec"}, 125, "no command given"},
		{[]string{"--nonsense", "true"}, 125, "unknown flag: --nonsense\ntaskwatch: see 'taskwatch run --help'\n"},
		{[]string{"-e", "exec,fork", "true"}, 125, `unknown event "fork": events are init, clone, exec, uid, gid, exit, free`},
		{[]string{"-e", "", "true"}, 125, "no event given"},
		{[]string{"-f", "xml", "true"}, 125, `--format "xml": unknown format; choose text or json`},
		{[]string{"--source", "oracle", "true"}, 125, `--source "oracle": unknown source; choose one of auto, bpf, ptrace`},
		{[]string{"-o", "/no/such/dir/x", "true"}, 125, `--output "/no/such/dir/x": no such file or directory; give a file that can be written`},
		{[]string{"-o", "", "true"}, 125, "--output: the name of the file is empty"},
		{[]string{"-o", dir + "/x.json", "true"}, 125, `x.json": no format has this ending; end the name in .jsonl, or choose one with --format`},
		{[]string{"-o", dir + "/x.jsonl.gz", "true"}, 125, `x.jsonl.gz": outputs are not compressed; leave .gz out, and compress the file afterwards`},
		{[]string{"-o", dir + "/x.jsonl", "-o", dir + "/./x.jsonl", "true"}, 125, "it is the same file as that of another --output; name each file once"},
		{[]string{"-o", dir + "/x.SQLite", "true"}, 125, "no format has this ending; end the name in .sql"},
		{[]string{"-f", "json", "-o", dir + "/x.json", "true"}, 0, ""},
		{[]string{"-o", dir + "/x.log", "-o", dir + "/x.JSONL", "-o", dir + "/Compile_Commands.json", "true"}, 0, ""},
		{[]string{"-o", "-", "true"}, 125, "standard output belongs to the command"},
	} {
		r := tw(t, append([]string{"run", "--source", source}, c.args...)...)
		if r.status != c.status {
			t.Errorf("run %q: status %d, want %d; stderr:\n%s", c.args, r.status, c.status, r.stderr)
		}
		if r.stdout != "" {
			t.Errorf("run %q: stdout %q", c.args, r.stdout)
		}
		if said := strings.Contains(r.stderr, "taskwatch: "); said != (c.says != "") || !strings.Contains(r.stderr, c.says) {
			t.Errorf("run %q: says %q, want %q", c.args, r.stderr, c.says)
		}
	}
}

// What cannot be done must not leave the command half done.
func TestRunStartsNothingOnAnError(t *testing.T) { eachSource(t, testRunStartsNothingOnAnError) }

func testRunStartsNothingOnAnError(t *testing.T, source string) {
	c := cmd(t, "run", "--source", source, "-e", "nonsense", "--", "touch", "started")
	if r := finish(t, c); r.status != exitRunFailed {
		t.Errorf("status %d", r.status)
	}
	if _, err := os.Stat(filepath.Join(c.Dir, "started")); err == nil {
		t.Error("the command ran")
	}
}

// bytesOfAll holds every byte, in an order that no text mode would survive.
func bytesOfAll() []byte {
	b := make([]byte, 1<<16)
	for i := range b {
		b[i] = byte(i * 7 >> (i % 3))
	}
	return b
}

func TestRunLeavesStandardFilesAlone(t *testing.T) { eachSource(t, testRunLeavesStandardFilesAlone) }

func testRunLeavesStandardFilesAlone(t *testing.T, source string) {
	in := bytesOfAll()
	c := cmd(t, "run", "--source", source, "--", "cat")
	c.Stdin = bytes.NewReader(in)
	r := finish(t, c)
	if r.status != 0 || r.stdout != string(in) {
		t.Errorf("status %d, %d bytes came through, the same: %v", r.status, len(r.stdout), r.stdout == string(in))
	}
	if !regexp.MustCompile(`(?m)^\d\d:\d\d:\d\d\.\d{6} exec +\d+ cat\n.* exit +\d+ exit 0 after .*: cat\n$`).MatchString(r.stderr) {
		t.Errorf("stderr: %q", r.stderr)
	}

	file := filepath.Join(t.TempDir(), "events")
	r = tw(t, "run", "--source", source, "-o", file, "--", "sh", "-c", "echo out; echo err >&2")
	if r.stdout != "out\n" || r.stderr != "err\n" {
		t.Errorf("with --output: stdout %q, stderr %q", r.stdout, r.stderr)
	}
	if events, err := os.ReadFile(file); err != nil || !strings.Contains(string(events), "sh -c 'echo out; echo err >&2'") {
		t.Errorf("the file holds %q, %v", events, err)
	}
}

func TestFlagsBehindTheCommandAreTheCommands(t *testing.T) {
	eachSource(t, testFlagsBehindTheCommandAreTheCommands)
}

func testFlagsBehindTheCommandAreTheCommands(t *testing.T, source string) {
	for _, dashes := range [][]string{nil, {"--"}} {
		args := append(append([]string{"run", "--source", source, "-o", "/dev/null"}, dashes...), "sh", "-c", `printf '%s|' "$@"`, "-f", "-e", "--help", "--", "-o", "x")
		if r := tw(t, args...); r.status != 0 || r.stdout != "-e|--help|--|-o|x|" {
			t.Errorf("%q: status %d, stdout %q, stderr %q", args, r.status, r.stdout, r.stderr)
		}
	}
}

func TestRunCountsForks(t *testing.T) { eachSource(t, testRunCountsForks) }

func testRunCountsForks(t *testing.T, source string) {
	const forks, execs = 37, 11
	script := fmt.Sprintf("i=0; while [ $i -lt %d ]; do (:) ; i=$((i+1)); done; i=0; while [ $i -lt %d ]; do /bin/true; i=$((i+1)); done; :", forks, execs)
	events := recorded(t, []string{"--source", source}, "sh", "-c", script)
	// The command itself is seen from its exec on.
	want := [taskwatch.NumKinds]int{
		taskwatch.Init: forks + execs, taskwatch.Clone: forks + execs, taskwatch.Exec: 1 + execs,
		taskwatch.Exit: 1 + forks + execs, taskwatch.Free: 1 + forks + execs,
	}
	if got := count(events); got != want {
		t.Errorf("events %v, want %v", got, want)
	}
	for i, ev := range events {
		if ev.Seq != uint64(i+1) {
			t.Fatalf("event %d has number %d", i+1, ev.Seq)
		}
	}
}

func TestRunFilters(t *testing.T) { eachSource(t, testRunFilters) }

func testRunFilters(t *testing.T, source string) {
	events := recorded(t, []string{"--source", source, "-e", "exec,exit"}, "sh", "-c", "/bin/true; (exit 0); :")
	want := [taskwatch.NumKinds]int{taskwatch.Exec: 2, taskwatch.Exit: 3}
	if got := count(events); got != want {
		t.Errorf("events %v, want %v", got, want)
	}
	shown := regexp.MustCompile(`(?m)^\S+ (\w+) +\d+`)
	for flags, want := range map[string][]string{
		"-e=exec":       {"exec", "exec"},
		"--event=clone": {"clone"},
		"--threads":     {"exec", "exec", "exit", "exit"},
	} {
		r := tw(t, "run", "--source", source, flags, "sh", "-c", "/bin/true; :")
		var got []string
		for _, m := range shown.FindAllStringSubmatch(r.stderr, -1) {
			got = append(got, m[1])
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s shows %v, want %v:\n%s", flags, got, want, r.stderr)
		}
	}
}

func TestRunThreads(t *testing.T) { eachSource(t, testRunThreads) }

func testRunThreads(t *testing.T, source string) {
	// The only threads known beforehand of a program that is always there:
	// those of the Go program under test.
	file := filepath.Join(t.TempDir(), "events.jsonl")
	tw(t, "run", "--source", source, "-f", "json", "-o", file, "--", binary(t), "--version")
	var threads int
	for _, ev := range eventsOf(t, file) {
		if ev.Kind == taskwatch.Exit && ev.Task.TID != ev.Task.PID {
			threads++
		}
	}
	if threads == 0 {
		t.Fatal("a Go program ran without threads")
	}
	for flag, want := range map[string]int{"--threads=true": threads, "--threads=false": 0} {
		r := tw(t, "replay", flag, "-e", "exit", file)
		if got := strings.Count(r.stdout, " thread exit "); got != want {
			t.Errorf("%s shows %d threads, want %d:\n%s", flag, got, want, r.stdout)
		}
	}
}

func TestRunSummary(t *testing.T) { eachSource(t, testRunSummary) }

func testRunSummary(t *testing.T, source string) {
	script := "/bin/true; /bin/true; /bin/false; (exit 4); :"
	r := tw(t, "run", "--source", source, "--summary", "-o", "/dev/null", "--", "sh", "-c", script)
	for _, want := range []string{
		"\n  tasks      5\n",
		"\n  processes  5, of which 5 ended and 2 failed\n",
		"\nfailed commands, in the order of their ends\n",
		"  exit 1  /bin/false\n",
		"  exit 4  fork of sh -c ",
	} {
		if !strings.Contains(r.stderr, want) {
			t.Errorf("no %q in\n%s", want, r.stderr)
		}
	}
	if r.stdout != "" || strings.Contains(r.stderr, " exec ") {
		t.Errorf("stdout %q, stderr\n%s", r.stdout, r.stderr)
	}

	file := filepath.Join(t.TempDir(), "events.jsonl")
	r = tw(t, "run", "--source", source, "--summary", "-f", "json", "-o", file, "sh", "-c", script)
	var sum struct{ Tasks, Failed int }
	if err := json.Unmarshal([]byte(r.stderr), &sum); err != nil || sum.Tasks != 5 || sum.Failed != 2 {
		t.Errorf("as JSON %+v (%v): %q", sum, err, r.stderr)
	}
	eventsOf(t, file) // holds nothing else
}

func TestReplayOfARunIsTheRun(t *testing.T) { eachSource(t, testReplayOfARunIsTheRun) }

func testReplayOfARunIsTheRun(t *testing.T, source string) {
	dir := t.TempDir()
	first, second := filepath.Join(dir, "1.jsonl"), filepath.Join(dir, "2.jsonl")
	if r := tw(t, "run", "--source", source, "-f", "json", "-o", first, "--", "sh", "-c", "/bin/true & /bin/false; wait; (exit 3) | cat"); r.status != 0 {
		t.Fatalf("run: %+v", r)
	}
	if r := tw(t, "replay", first, "-f", "json", "-o", second); r != (result{}) {
		t.Fatalf("replay: %+v", r)
	}
	a, err := os.ReadFile(first)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(second)
	if err != nil {
		t.Fatal(err)
	}
	if len(a) == 0 || !bytes.Equal(a, b) {
		t.Errorf("the recording of the replay differs:\n%s\nfrom\n%s", b, a)
	}
}

func TestRunWithAFullDisk(t *testing.T) { eachSource(t, testRunWithAFullDisk) }

func testRunWithAFullDisk(t *testing.T, source string) {
	for _, format := range []string{"text", "json"} {
		for _, want := range []int{0, 7} {
			c := cmd(t, "run", "--source", source, "-f", format, "-o", "/dev/full", "--", "sh", "-c", fmt.Sprintf("/bin/true; touch done; exit %d", want))
			r := finish(t, c)
			status := want
			if want == 0 {
				status = exitRunFailed
			}
			if r.status != status {
				t.Errorf("%s: status %d, want %d", format, r.status, status)
			}
			if r.stderr != `taskwatch: the events in "/dev/full" are not complete: no space left on device; write them elsewhere with --output`+"\n" {
				t.Errorf("%s: stderr %q", format, r.stderr)
			}
			if _, err := os.Stat(filepath.Join(c.Dir, "done")); err != nil {
				t.Errorf("%s: the command did not run to its end: %v", format, err)
			}
		}
	}
}

// Nobody reads the events: SIGPIPE must not kill taskwatch, because the
// command would go with it.
func TestRunWithABrokenPipe(t *testing.T) { eachSource(t, testRunWithABrokenPipe) }

func testRunWithABrokenPipe(t *testing.T, source string) {
	for _, format := range []string{"text", "json"} {
		pr, pw, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		pr.Close()
		c := cmd(t, "run", "--source", source, "-f", format, "--", "sh", "-c", "/bin/true; touch done")
		c.Stderr = pw
		r := finish(t, c)
		pw.Close()
		if r.status != exitRunFailed {
			t.Errorf("%s: status %d, want %d", format, r.status, exitRunFailed)
		}
		if _, err := os.Stat(filepath.Join(c.Dir, "done")); err != nil {
			t.Errorf("%s: the command did not run to its end: %v", format, err)
		}
	}
}

func TestRunWithClosedStandardFiles(t *testing.T) { eachSource(t, testRunWithClosedStandardFiles) }

func testRunWithClosedStandardFiles(t *testing.T, source string) {
	for _, closed := range []string{"<&-", ">&-", "2>&-", "<&- >&- 2>&-"} {
		c := cmd(t)
		c.Path, c.Args = "/bin/sh", []string{"sh", "-c", `exec "$0" run --source ` + source + ` -- sh -c 'touch done; exit 6' ` + closed, binary(t)}
		if r := finish(t, c); r.status != 6 {
			t.Errorf("%s: status %d, want 6; stderr %q", closed, r.status, r.stderr)
		}
		if _, err := os.Stat(filepath.Join(c.Dir, "done")); err != nil {
			t.Errorf("%s: the command did not run to its end: %v", closed, err)
		}
	}
}

// bare runs a command without taskwatch and under it, and returns what it
// wrote both times.
func bareAndWatched(t *testing.T, source string, setup func(*exec.Cmd), argv ...string) (bare, watched string) {
	t.Helper()
	var out [2]string
	for i := range out {
		c := cmd(t, append([]string{"run", "--source", source, "-f", "json", "-o", "/dev/null", "--"}, argv...)...)
		c.Dir = "/"
		if i == 0 {
			path, err := exec.LookPath(argv[0])
			if err != nil {
				t.Fatal(err)
			}
			c.Path, c.Args = path, argv
		}
		setup(c)
		r := finish(t, c)
		if r.status != 0 {
			t.Fatalf("%q: %+v", c.Args, r)
		}
		out[i] = r.stdout
	}
	return out[0], out[1]
}

func TestRunLeavesTheEnvironmentAlone(t *testing.T) { eachSource(t, testRunLeavesTheEnvironmentAlone) }

func testRunLeavesTheEnvironmentAlone(t *testing.T, source string) {
	bare, watched := bareAndWatched(t, source, func(c *exec.Cmd) {
		c.Env = []string{"B=2", "A=1", "EMPTY=", "ODD=a\nb\xff", "GOMAXPROCS=1", "PATH=" + os.Getenv("PATH"), testutil.Mark()}
	}, "env", "-0")
	if bare != watched {
		t.Errorf("the command's environment is %q, want %q", watched, bare)
	}
}

func TestRunPassesOpenFilesOn(t *testing.T) { eachSource(t, testRunPassesOpenFilesOn) }

func testRunPassesOpenFilesOn(t *testing.T, source string) {
	file, err := os.Open(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	// The pipes of the test differ from one run to the other.
	pipe := regexp.MustCompile(`pipe:\[\d+\]|/proc/\d+`)
	bare, watched := bareAndWatched(t, source, func(c *exec.Cmd) { c.ExtraFiles = []*os.File{file, nil, file} },
		"sh", "-c", "for f in /proc/$$/fd/*; do echo ${f##*/} $(readlink $f); done")
	bare, watched = pipe.ReplaceAllString(bare, "P"), pipe.ReplaceAllString(watched, "P")
	if bare != watched || !strings.Contains(bare, "3 /") || !strings.Contains(bare, "5 /") {
		t.Errorf("the command's open files are\n%swant\n%s", watched, bare)
	}
}

func TestRunLeavesSignalsAndLimitsAlone(t *testing.T) {
	eachSource(t, testRunLeavesSignalsAndLimitsAlone)
}

func testRunLeavesSignalsAndLimitsAlone(t *testing.T, source string) {
	bare, watched := bareAndWatched(t, source, func(*exec.Cmd) {}, "sh", "-c", "grep -E '^(Sig[PBIC]|Shd|Groups|Uid|Gid|Umask)' /proc/self/status; ulimit -a")
	if bare != watched {
		t.Errorf("the command has\n%swant\n%s", watched, bare)
	}
}

// A daemon is watched to its end, and the status is still the command's.
func TestRunFollowsDaemons(t *testing.T) { eachSource(t, testRunFollowsDaemons) }

func testRunFollowsDaemons(t *testing.T, source string) {
	testutil.Require(t, needsPrograms("sh", "setsid", "touch"))
	file := filepath.Join(t.TempDir(), "events.jsonl")
	c := cmd(t, "run", "--source", source, "-f", "json", "-o", file, "--", "sh", "-c", "setsid sh -c 'sleep 0.2; exec touch done' </dev/null >/dev/null 2>&1 & exit 4")
	if r := finish(t, c); r.status != 4 {
		t.Errorf("status %d, want 4", r.status)
	}
	if _, err := os.Stat(filepath.Join(c.Dir, "done")); err != nil {
		t.Errorf("the daemon was not waited for: %v", err)
	}
	events := eventsOf(t, file)
	if n := count(events); n[taskwatch.Clone]+1 != n[taskwatch.Free] {
		t.Errorf("%d births but %d frees", n[taskwatch.Clone]+1, n[taskwatch.Free])
	}
	if !slices.ContainsFunc(events, func(ev *taskwatch.Event) bool {
		return ev.Kind == taskwatch.Exec && slices.Equal(ev.Task.Argv, []string{"touch", "done"})
	}) {
		t.Error("the daemon's program was not seen")
	}
}

const nobody = 65534

// asNobody makes c run without privileges, in a directory that it may write.
func asNobody(t *testing.T, c *exec.Cmd) {
	t.Helper()
	if os.Geteuid() != 0 {
		return // nor has the test any
	}
	dir, err := os.MkdirTemp("", "taskwatch-nobody-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chown(dir, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	c.Dir = dir
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
}

// The main job: a build, watched by somebody without privileges.
func TestRunOfABuildWithoutPrivileges(t *testing.T) {
	testutil.RequireTool(t, "make")
	testutil.Require(t, testutil.NeedsCompiler("cc"))
	c := cmd(t, "run", "-f", "json", "-o", "events.jsonl", "--", "make", "-j2")
	asNobody(t, c)
	makeProject(t, c.Dir)
	r := finish(t, c)
	if r.status != 0 {
		t.Fatalf("status %d, stderr %s", r.status, r.stderr)
	}
	if out, err := exec.Command(filepath.Join(c.Dir, "hello")).Output(); err != nil || string(out) != "hello\n" {
		t.Errorf("what was built says %q, %v", out, err)
	}
	events := eventsOf(t, filepath.Join(c.Dir, "events.jsonl"))
	compiled := map[string]bool{}
	for _, ev := range events {
		if ev.Kind == taskwatch.Exec && ev.Task.Argv[0] == "cc" {
			compiled[ev.Task.Argv[len(ev.Task.Argv)-1]] = true
		}
		if os.Geteuid() == 0 && ev.Task.UID != (taskwatch.IDs{nobody, nobody, nobody, nobody}) {
			t.Fatalf("%s of %d has the ids %v", ev.Kind, ev.Task.PID, ev.Task.UID)
		}
	}
	for _, last := range []string{"hello.c", "again.c", "hello.o", "again.o"} {
		if !compiled[last] {
			t.Errorf("no exec of cc ... %s; compiled: %v", last, compiled)
		}
	}
	if n := count(events); n[taskwatch.Clone]+1 != n[taskwatch.Exit] || n[taskwatch.Exit] != n[taskwatch.Free] {
		t.Errorf("%d births, %d exits, %d frees", n[taskwatch.Clone]+1, n[taskwatch.Exit], n[taskwatch.Free])
	}
}

// makeProject writes a small C project that make builds.
func makeProject(t *testing.T, dir string) {
	t.Helper()
	program := "#include <stdio.h>\nint main(void) { puts(\"hello\"); return 0; }\n"
	for name, text := range map[string]string{
		"hello.c":  program,
		"again.c":  program,
		"Makefile": "all: hello again\nhello again: %: %.o\n\tcc -o $@ $<\n%.o: %.c\n\tcc -c -o $@ $<\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRunTellsNoticesOnce(t *testing.T) {
	strace := testutil.RequireTool(t, "strace")
	r := tw(t, "run", "--source", "ptrace", "-o", "/dev/null", "--", strace, "-o", "/dev/null", "true")
	if !strings.Contains(r.stderr, "taskwatch: process ") || !strings.Contains(r.stderr, "a task can have only one tracer") {
		t.Errorf("no word of why strace fails: %q", r.stderr)
	}
	seen := map[string]bool{}
	for line := range strings.Lines(r.stderr) {
		if strings.HasPrefix(line, "taskwatch: ") && seen[line] {
			t.Errorf("told twice: %q", line)
		}
		seen[line] = true
	}
}

// needsPrograms is met where the tools of a shell are programs of their own, each
// with an exec. A busybox among them runs the others in its own process, wherever
// they are installed.
func needsPrograms(names ...string) testutil.Need {
	return testutil.Need{
		What:   strings.Join(names, ", ") + " that are programs of their own",
		Remedy: "install coreutils, dash and util-linux in place of busybox",
		Met: func() bool {
			files := map[string]bool{}
			for _, name := range names {
				path, err := exec.LookPath(name)
				if err == nil {
					path, err = filepath.EvalSymlinks(path)
				}
				if err != nil || filepath.Base(path) == "busybox" {
					return false
				}
				files[path] = true
			}
			return len(files) == len(names)
		},
		Promised: true,
	}
}

// wrappers are the programs of "env sh -c 'sleep 1; exec true'".
var wrappers = needsPrograms("env", "sh", "sleep", "true")

// Each program of a process counts from its exec: what ran before in the same
// process is not its own.
func TestSummaryOfWrappers(t *testing.T) { eachSource(t, testSummaryOfWrappers) }

func testSummaryOfWrappers(t *testing.T, source string) {
	testutil.Require(t, wrappers)
	r := tw(t, "run", "--source", source, "--summary", "-f", "json", "-o", "/dev/null", "--", "env", "sh", "-c", "sleep 0.3; exec true")
	var sum struct {
		Wall int64 `json:"wall_ns"`
		By   []struct {
			Program string
			Wall    int64 `json:"wall_ns"`
			Execs   int
		} `json:"by_program"`
		Path []struct {
			Wall int64 `json:"wall_ns"`
		} `json:"critical_path"`
	}
	if err := json.Unmarshal([]byte(r.stderr), &sum); err != nil {
		t.Fatalf("%v: %q", err, r.stderr)
	}
	wall := map[string]int64{}
	for _, p := range sum.By {
		wall[filepath.Base(p.Program)] = p.Wall
	}
	sleep, ok := wall["sleep"]
	if !ok || len(sum.By) != 4 || sleep < 300e6 {
		t.Fatalf("programs %+v, want four, and sleep with its 300 ms", sum.By)
	}
	if sh := max(wall["sh"], wall["dash"], wall["bash"]); sh < sleep {
		t.Errorf("the shell took %d, less than what it waited for, %d", sh, sleep)
	}
	// Whatever the load: true ran when the sleep was over.
	if rest := sum.Wall - sleep; wall["true"] > rest || wall["env"] > rest {
		t.Errorf("true took %d and env %d, want no more than what is left of %d without the sleep", wall["true"], wall["env"], sum.Wall)
	}
	var path int64
	for _, s := range sum.Path {
		path += s.Wall
	}
	if path != sum.Wall {
		t.Errorf("the critical path takes %d, want the wall time %d", path, sum.Wall)
	}
}

// Each program of a process has its own CPU time, also when a recording is asked.
func TestCPUTimeOfWrappers(t *testing.T) { eachSourceAlone(t, testCPUTimeOfWrappers) }

func testCPUTimeOfWrappers(t *testing.T, source string) {
	testutil.Require(t, wrappers)
	file := filepath.Join(t.TempDir(), "r.jsonl")
	// The shell says what the process has used, in ticks of 10 ms, and is true then.
	const script = "i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done; read -r stat </proc/$$/stat; echo $stat; exec true"
	r := tw(t, "run", "--source", source, "-o", file, "--", "env", "sh", "-c", script)
	words := strings.Fields(r.stdout)
	if r.status != 0 || len(words) < 15 {
		t.Fatalf("%+v", r)
	}
	var ticks int64
	for _, word := range words[13:15] {
		n, err := strconv.ParseInt(word, 10, 64)
		if err != nil {
			t.Fatalf("%v: %q", err, r.stdout)
		}
		ticks += n
	}
	var sum struct {
		UserNS   int64 `json:"utime_ns"`
		SystemNS int64 `json:"stime_ns"`
		By       []struct {
			Program string
			CPU     int64 `json:"cpu_ns"`
			AtMost  bool  `json:"cpu_at_most"`
		} `json:"by_program"`
	}
	r = tw(t, "replay", "--summary", "-f", "json", "-o", "/dev/null", file)
	if err := json.Unmarshal([]byte(r.stdout), &sum); err != nil {
		t.Fatalf("%v: %+v", err, r)
	}
	const tick = 10e6
	var all int64
	total := sum.UserNS + sum.SystemNS
	for _, p := range sum.By {
		all += p.CPU
		if p.AtMost {
			t.Errorf("the CPU time of %s is only a bound", p.Program)
		}
		if name := filepath.Base(p.Program); (name == "true" || name == "env") && p.CPU > total-tick*ticks+2*tick {
			t.Errorf("%s used %d ns, of %d in all, of which the shell's were %d ticks", p.Program, p.CPU, total, ticks)
		}
	}
	// What the process used before env is nobody's.
	if len(sum.By) != 3 || all > total || all < tick*ticks-2*tick {
		t.Errorf("%+v used %d ns, want three programs that used all of %d, %d ticks", sum.By, all, total, ticks)
	}
}

func TestSummaryFlags(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--top", "3"}, "--summary"},
		{[]string{"--summary", "--top", "0"}, "at least one line"},
		{[]string{"--summary", "--sort", "size"}, "wall, cpu, rss, io, runs"},
	} {
		r := tw(t, append(append([]string{"run"}, c.args...), "true")...)
		if r.status != 125 || !strings.Contains(r.stderr, c.want) {
			t.Errorf("%q: status %d, %q, want %q", c.args, r.status, r.stderr, c.want)
		}
	}
}

// An optional field is in a recording where --fields names it, and only there.
func TestOptionalFieldsAreAskedFor(t *testing.T) {
	testutil.Root(t)
	id := watchtest.OwnCgroupID()
	testutil.Require(t, testutil.Need{
		What: "a mounted hierarchy of cgroups", Remedy: "mount -t cgroup2 none /sys/fs/cgroup", Met: func() bool { return id != 0 },
	})
	file := filepath.Join(t.TempDir(), "events.jsonl")
	want := fmt.Sprintf(`"cgroup_id":%d`, id)
	for _, c := range []struct {
		args []string
		want int
	}{{nil, 0}, {[]string{"--fields", "cgroup_id"}, 2}, {[]string{"--fields", "exe,all"}, 2}} {
		args := append([]string{"run", "--source", "bpf", "-e", "exec,exit", "-f", "json", "-o", file}, c.args...)
		if r := tw(t, append(args, "--", "true")...); r.status != 0 {
			t.Fatalf("%q: %+v", args, r)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(text), want+"}") + strings.Count(string(text), want+","); n != c.want {
			t.Errorf("%q: %s is there %d times, want %d:\n%s", c.args, want, n, c.want, text)
		}
	}
	if r := tw(t, "run", "--fields", "exe,nothing", "--", "true"); r.status != exitRunFailed || !strings.Contains(r.stderr, `--fields exe,nothing: unknown field "nothing"`) {
		t.Errorf("a field that does not exist: %+v", r)
	}
}
