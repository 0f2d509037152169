package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

// A table has no rows for execs that failed, which is said where it is all that
// is written.
func TestFailedExecsWithoutRows(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		flags []string
		bad   bool
	}{
		{[]string{"-f", "csv"}, true},
		{[]string{"-o", dir + "/a.csv"}, true},
		{[]string{"-f", "json", "--columns", "pid"}, true},
		{[]string{"-o", dir + "/b.csv", "-o", dir + "/b.jsonl"}, false},
		{[]string{"--columns", "pid"}, false},
	} {
		r := tw(t, append(append([]string{"run", "--source", "ptrace", "-e", "exec-failed"}, c.flags...), "--", "true")...)
		if bad := r.status == exitRunFailed && strings.Contains(r.stderr, "no rows for execs that failed"); bad != c.bad || !bad && r.status != 0 {
			t.Errorf("%q: %+v", c.flags, r)
		}
	}
}

// Execs that fail are those that strace sees fail, with their error.
func TestFailedExecs(t *testing.T) { eachSource(t, testFailedExecs) }

const failingScript = `./nothing a b; ./notexecutable; ./noformat; ./nointerpreter; ./directory
PATH=/no/such:.:/usr/bin /usr/bin/env printf x
/bin/echo $(head -c 200000 /dev/zero | tr '\0' a); :`

func testFailedExecs(t *testing.T, source string) {
	strace := testutil.RequireTool(t, "strace")
	dir := t.TempDir()
	for name, mode := range map[string]os.FileMode{"notexecutable": 0o644, "noformat": 0o755, "nointerpreter": 0o755} {
		text := map[string]string{"nointerpreter": "#!/no/such/interpreter\n"}[name]
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text+"\n"), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "directory"), 0o755); err != nil {
		t.Fatal(err)
	}
	truth := exec.Command(strace, "-f", "-Z", "-qq", "-s", "4096", "-e", "trace=execve,execveat", "-e", "signal=none", "-o", dir+"/truth", "sh", "-c", failingScript)
	truth.Dir = dir
	if out, err := truth.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	text, err := os.ReadFile(dir + "/truth")
	if err != nil {
		t.Fatal(err)
	}
	find := func(pattern string, text []byte) (list []string) {
		for _, m := range regexp.MustCompile(pattern).FindAllSubmatch(text, -1) {
			list = append(list, string(m[1])+" "+string(m[2]))
		}
		return list
	}
	want := find(`(?m)execve\("([^"]*)", .* = -1 (E\w+) `, text)
	slices.Sort(want)
	if len(want) < 6 || !slices.ContainsFunc(want, func(s string) bool { return strings.HasSuffix(s, " E2BIG") }) {
		t.Fatalf("strace sees %q:\n%s", want, text)
	}
	for _, c := range []struct {
		flags []string
		want  []string
	}{
		{[]string{"-e", "exec-failed"}, want},
		{[]string{"-e", "exec-failed", "--where", `comm == "sh" || comm == "env"`, "--fields", "env", "--env", "names"}, want},
		{[]string{"-e", "exec-failed", "--where", `comm == "nobody"`}, nil},
		{[]string{"-e", "exec-failed", "--where", `kind == "exec-failed"`}, want},
		{[]string{"--where", `kind == "exec-failed"`}, want},
		{nil, nil},
		{[]string{"-e", "all"}, nil},
	} {
		file := filepath.Join(dir, "events.jsonl")
		r := cmd(t, append(append([]string{"run", "--source", source, "-o", file}, c.flags...), "--", "sh", "-c", failingScript)...)
		r.Dir = dir
		finish(t, r)
		lines, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(lines)) {
			if strings.HasPrefix(line, `{"event":"exec-failed"`) && !strings.Contains(line, `"exe":"/usr/bin/`) {
				t.Errorf("%q: the program that tried is missing: %s", c.flags, line)
			}
		}
		got := find(`(?m)^\{"event":"exec-failed","optional":true,"errno":\d+,"errno_name":"(E\w+)","path":"([^"]*)"`, lines)
		for i, s := range got {
			errno, path, _ := strings.Cut(s, " ")
			got[i] = path + " " + errno
		}
		slices.Sort(got)
		if !slices.Equal(got, c.want) {
			t.Errorf("%q: %q fail, and strace sees %q", c.flags, got, c.want)
		}
	}
}

// An exec that failed says which descriptor its path was relative to, in JSON and in
// text, whatever the size of the program's words.
func TestFailedExecsByDescriptor(t *testing.T) {
	eachSource(t, func(t *testing.T, source string) {
		for _, mode := range []string{"-m64", "-m32"} {
			t.Run(mode[1:], func(t *testing.T) {
				prog := testutil.BuildC(t, "../../source/bpf/testdata/execs.c", mode, "-static")
				if mode == "-m32" {
					testutil.Require(t, testutil.NeedsToRun(prog, "32-bit programs"))
				}
				file := filepath.Join(t.TempDir(), "events.jsonl")
				if r := tw(t, "run", "--source", source, "-e", "exec-failed", "-o", file, "--", prog); r.status != 0 {
					t.Fatalf("%+v", r)
				}
				var got []string
				for line := range strings.Lines(string(readFile(t, file))) {
					if _, tried, ok := strings.Cut(line, `"path":`); ok {
						tried, _, _ = strings.Cut(tried, `,"argv"`)
						got = append(got, tried)
					}
				}
				want := []string{`"/no/such/program"`, `"no/such/program","fd":77`, `"/no/such/program"`, `"no/such/program"`, `"","fd":78`}
				if !slices.Equal(got, want) {
					t.Errorf("tried are %q, want %q", got, want)
				}
				r := tw(t, "replay", "-e", "exec-failed", file)
				if n := strings.Count(r.stdout, "no/such/program 'an argument' (by descriptor 77)"); n != 1 {
					t.Errorf("%d lines name the descriptor:\n%s", n, r.stdout)
				}
			})
		}
	})
}
