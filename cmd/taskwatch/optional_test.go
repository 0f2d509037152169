package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/process"
)

// Optional fields are there, or missing, only where somebody asks for them: by
// --fields, by a column, or in an expression. A recording asks for what was used
// before an exec, so that its summary is that of the run.
func TestOptionalFieldsOfEachSource(t *testing.T) { eachSource(t, testOptionalFieldsOfEachSource) }

func testOptionalFieldsOfEachSource(t *testing.T, source string) {
	file := filepath.Join(t.TempDir(), "events.jsonl")
	const ns = taskwatch.FieldVPID | taskwatch.FieldNSMnt | taskwatch.FieldNSPID | taskwatch.FieldNSNet | taskwatch.FieldNSUser
	before := process.UsageBefore
	if source == "ptrace" { // which never has it, and says so at the start of a recording
		before &^= taskwatch.FieldBeforeMaxRSS
	}
	for _, c := range []struct {
		flags []string
		want  taskwatch.Fields // of an exec
	}{
		{nil, before},
		{[]string{"--fields", "ns,exe_ino"}, before | ns | taskwatch.FieldExeIno},
		{[]string{"--fields", "all"}, taskwatch.OptionalOf(taskwatch.Exec)},
	} {
		r := tw(t, append(append([]string{"run", "--source", source, "-o", file}, c.flags...), "--", "true")...)
		if r.status != 0 {
			t.Fatalf("%v: status %d, %s", c.flags, r.status, r.stderr)
		}
		execs := 0
		for _, ev := range eventsOf(t, file) {
			var given taskwatch.Fields
			if ev.Extra != nil {
				given = ev.Extra.Given
			}
			if want := c.want & taskwatch.OptionalOf(ev.Kind); given|ev.Missing&taskwatch.OptionalFields != want {
				t.Errorf("%v: %v has %v and misses %v, want %v", c.flags, ev.Kind, given, ev.Missing, want)
			}
			if ev.Kind == taskwatch.Exec {
				execs++
			}
		}
		if execs != 1 {
			t.Errorf("%v: %d execs", c.flags, execs)
		}
	}
	for _, c := range []struct{ flags, want string }{
		{"-f csv -e exec --columns exe_dev,groups,caps.secure --where caps.effective!=1", "exe_dev,groups,caps.secure"},
		{"-f csv -e exec --columns kind,ns.vpid --where ns.vpid>0&&env.exists(v,v.startsWith('PATH='))", "kind,ns.vpid\nexec,"},
		{"-f csv -e exec --columns kind --where exe_ino==0", "kind\n"},
	} {
		r := tw(t, append(append([]string{"run", "--source", source}, strings.Fields(c.flags)...), "--", "true")...)
		if r.status != 0 || !strings.HasPrefix(r.stderr, c.want) || c.want == "kind\n" && r.stderr != c.want {
			t.Errorf("%s: status %d, %q, want %q", c.flags, r.status, r.stderr, c.want)
		}
	}
}

// The working directory is right at every event that has it: nobody tells of
// chdir, so that it is looked at each time or missing.
func TestCwdIsRightOrMissing(t *testing.T) { eachSource(t, testCwdIsRightOrMissing) }

func testCwdIsRightOrMissing(t *testing.T, source string) {
	dir := t.TempDir()
	file := filepath.Join(dir, "events.jsonl")
	for _, name := range []string{"a", "b"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	r := tw(t, "run", "--source", source, "-o", file, "--", "sh", "-c", "cd "+dir+"/a; (cd ../b; true; :); cd /; :")
	if r.status != 0 {
		t.Fatalf("status %d, %s", r.status, r.stderr)
	}
	seen := map[string]string{}
	first := 0
	for _, ev := range eventsOf(t, file) {
		if first == 0 {
			first = ev.Task.PID
		}
		who := "shell"
		if ev.Task.PID != first {
			who = "subshell"
		}
		if ev.Kind == taskwatch.Clone || ev.Kind == taskwatch.Exit {
			cwd := ev.Task.Cwd
			if ev.Missing.Has(taskwatch.FieldCwd) {
				cwd = "missing"
			}
			seen[who+" "+ev.Kind.String()] = cwd
		}
	}
	for what, want := range map[string]string{"subshell clone": dir + "/a", "subshell exit": dir + "/b", "shell exit": "/"} {
		if got := seen[what]; got != want && (got != "missing" || source != "ptrace" || what != "subshell exit") {
			t.Errorf("%s: cwd %q, want %q", what, got, want)
		}
	}
}

// The terminal of a program in one, and the session that leads it.
func TestTerminalOfEachSource(t *testing.T) { eachSource(t, testTerminalOfEachSource) }

func testTerminalOfEachSource(t *testing.T, source string) {
	file := filepath.Join(t.TempDir(), "events.jsonl")
	p := openPTY(t, []string{binary(t), "run", "--source", source, "--fields", "tty", "-o", file, "--", "sh", "-c", "true; setsid true; :"})
	if err := p.shell.Wait(); err != nil {
		t.Fatalf("%v: %s", err, p.screen.String())
	}
	p.keyboard.Close()
	<-p.done
	var seen []string
	for _, ev := range eventsOf(t, file) {
		if ev.Kind != taskwatch.Exec && ev.Kind != taskwatch.Exit {
			continue
		}
		if ev.Extra == nil {
			t.Fatalf("%v misses %v", ev.Kind, ev.Missing)
		}
		seen = append(seen, ev.Extra.TTY)
	}
	// The shell and setsid have it, and what setsid runs has none any more.
	have, none := 0, 0
	for _, tty := range seen {
		switch tty {
		case p.name:
			have++
		case "":
			none++
		}
	}
	if have+none != len(seen) || have == 0 || none == 0 {
		t.Errorf("the terminals are %q, want %s and none", seen, p.name)
	}
}
