package strace

import (
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

func TestMain(m *testing.M) { testutil.Main(m) }

func TestParse(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       []*Task
	}{
		{"one program", `10    execve("\x2f\x62", ["\x62", "\x2d\x61\x20\x29"], 0x7ffd /* 5 vars */) = 0
10    exit_group(3)                     = ?
10    +++ exited with 3 +++
`, []*Task{{TID: 10, Execs: []Exec{{Path: "/b", Argv: []string{"b", "-a )"}}}, Ended: true, Code: 3}}},

		{"unfinished and resumed", `10    vfork( <unfinished ...>
11    execve("\x61", ["\x61"], 0x1 /* 1 var */ <unfinished ...>
10    <... vfork resumed>)              = 11
11    <... execve resumed>)             = 0
11    +++ exited with 0 +++
10    +++ exited with 0 +++
`, []*Task{
			{TID: 10, Ended: true},
			{TID: 11, Execs: []Exec{{Path: "a", Argv: []string{"a"}}}, Ended: true},
		}},

		{"failures", `10    execve("\x61", ["\x61"], 0x1 /* 1 var */) = -1 ENOENT (No such file or directory)
10    clone3({flags=CLONE_VM, exit_signal=SIGCHLD, stack=0x1, stack_size=0x2}, 88) = -1 ENOSYS (Function not implemented)
10    +++ killed by SIGSEGV (core dumped) +++
`, []*Task{{TID: 10, Ended: true, Signal: "SIGSEGV", Core: true}}},

		{"killed inside a call", `10    execve("\x61", ["\x61"], 0x1 /* 1 var */ <unfinished ...>
10    +++ killed by SIGKILL +++
10    execve("\x62", NULL, NULL) = 0
10    +++ exited with 0 +++
`, []*Task{
			{TID: 10, Ended: true, Signal: "SIGKILL"},
			{TID: 10, Execs: []Exec{{Path: "b"}}, Ended: true},
		}},

		{"superseded", `10    clone(child_stack=0x7f, flags=CLONE_VM|CLONE_THREAD, parent_tid=[11], tls=0x7f) = 11
11    execve("\x61", [], 0x1 /* 0 vars */ <unfinished ...>
10    +++ superseded by execve in pid 11 +++
10    <... execve resumed>)             = 0
10    +++ exited with 7 +++
`, []*Task{
			{TID: 10, Ended: true, Superseded: true},
			{TID: 10, Execs: []Exec{{Path: "a"}}, Ended: true, Code: 7},
		}},

		{"execveat", `10    execveat(AT_FDCWD, "\x61", ["\x61"], 0x1 /* 0 vars */, AT_EMPTY_PATH) = 0
10    execveat(3, "", ["\x61"], 0x1 /* 0 vars */, 0) = 0
`, []*Task{{TID: 10, Execs: []Exec{
			{FD: "AT_FDCWD", Path: "a", Argv: []string{"a"}}, {FD: "3", Argv: []string{"a"}},
		}}}},

		{"escapes", `10    execve("a\n\t\"\\", ["\0", "\17a", "\377\1770", "", "\xe9"], 0x1) = 0
`, []*Task{{TID: 10, Execs: []Exec{{Path: "a\n\t\"\\", Argv: []string{"\x00", "\x0fa", "\xff\x7f0", "", "\xe9"}}}}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := parse(strings.NewReader(c.text), "report")
			if err != nil {
				t.Fatal(err)
			}
			for i := range max(len(got), len(c.want)) {
				if i >= len(got) || i >= len(c.want) || !reflect.DeepEqual(got[i], c.want[i]) {
					t.Errorf("task %d differs: got %+v, want %+v", i, got, c.want)
					break
				}
			}
		})
	}
}

func TestParseErrors(t *testing.T) {
	for text, want := range map[string]string{
		"execve(\n": "no tid",
		"10 execve(\"\\x61\", [\"\\x61\"], 0x1) = 0":        "the report is cut",
		"10 <... execve resumed>) = 0\n":                    "not begun",
		"10 a( <unfinished ...>\n10 a( <unfinished ...>\n":  "report:2: a call is begun inside another",
		"10 +++ vanished +++\n":                             "unknown end",
		"10 +++ exited with x +++\n":                        "bad exit code",
		"10 hello\n":                                        "not a system call",
		"10 execve(\"\\x61\", [] = 0\n":                     "without an end",
		"10 execve(\"\\x61\", []) 0\n":                      "without a result",
		"10 execve(\"\\x61\"..., [], 0x1) = 0\n":            "has cut a string",
		"10 execve(\"\\x61\", [\"\\x61\", ...], 0x1) = 0\n": "no string where one is due",
		"10 execve(\"\\q\", [], 0x1) = 0\n":                 "unknown escape",
		"10 execve(\"\\777\", [], 0x1) = 0\n":               "unknown escape",
		"10 execve(0x1, [], 0x1) = 0\n":                     "no string where one is due",
		"10 execve(\"\\x61\", 0x1, 0x1) = 0\n":              "argv is no list",
		"10 open(\"\\x61\") = 0\n":                          "unexpected system call",
	} {
		if _, err := parse(strings.NewReader(text), "report"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("parse(%q) = %v, want an error with %q", text, err, want)
		}
	}
}

// TestCommand reads what the installed strace writes.
func TestCommand(t *testing.T) {
	file := filepath.Join(t.TempDir(), "report")
	argv := append(Command(t, file), "sh", "-c", `true; (exit 4); sh -c "kill -KILL \$\$" "$1"; exit 5`, "sh", "a \"\n\xff")
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); code != 5 {
		t.Fatalf("%s: %v, want exit status 5\n%s", cmd, err, out)
	}
	tasks, err := ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if len(tasks) != 3 {
		t.Fatalf("%d tasks, want 3", len(tasks))
	}
	sh := tasks[0]
	if len(sh.Execs) != 1 || sh.Code != 5 || !sh.Ended {
		t.Errorf("the shell: %+v", sh)
	} else if got, want := sh.Execs[0].Argv[3:], []string{"sh", "a \"\n\xff"}; !reflect.DeepEqual(got, want) {
		t.Errorf("argv ends in %q, want %q", got, want)
	}
	if sub := tasks[1]; sub.Code != 4 || len(sub.Execs) != 0 || !sub.Ended {
		t.Errorf("the subshell: %+v", sub)
	}
	if killed := tasks[2]; killed.Signal != "SIGKILL" || len(killed.Execs) != 1 || killed.Execs[0].Argv[2] != "kill -KILL $$" {
		t.Errorf("the killed shell: %+v", killed)
	}
}
