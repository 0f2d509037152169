package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Two builds of one project that differ in known ways, each with temporary
// names and pids of its own.
func TestDiff(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	build := func(name, script string) string {
		t.Helper()
		file := filepath.Join(dir, name)
		r := tw(t, "run", "-f", "json", "-o", file, "--", "sh", "-c", script)
		if r.status != 0 {
			t.Fatalf("%s: %+v", name, r)
		}
		return file
	}
	const same = `f=$(mktemp /tmp/askXXXXXX.c); /bin/true cc -c $f; rm $f; /bin/true $$; d=$(mktemp -d); /bin/true $d/a.o $(mktemp -u build.XXXXXX -t); rmdir $d; `
	before := build("before.jsonl", same+`/bin/true old; /bin/true link; /bin/true slow; exec sleep 0`)
	after := build("after.jsonl", same+`/bin/true link; /bin/true link; /bin/true new; test -d /nowhere; /bin/test -d /nowhere; exec sleep 0`)
	r := tw(t, "diff", "-f", "json", before, after)
	var got struct {
		Differences []struct {
			Command       string
			Changes       []string
			Before, After struct{ Runs, Failed int }
		}
	}
	if err := json.Unmarshal([]byte(r.stdout), &got); err != nil || r.status != 0 {
		t.Fatalf("%v: %+v", err, r)
	}
	want := map[string]string{
		"/bin/true old": "gone", "/bin/true slow": "gone", "/bin/true new": "new",
		"/bin/true link": "more", "/bin/test -d /nowhere": "failing,new",
	}
	for _, d := range got.Differences {
		if strings.HasPrefix(d.Command, "sh -c") {
			continue // the script is its argument
		}
		// How long a program took, and of what, the machine says, and not the script.
		d.Changes = slices.DeleteFunc(d.Changes, func(c string) bool { return c == "slower" || c == "hungrier" })
		if changes := strings.Join(d.Changes, ","); want[d.Command] != changes {
			t.Errorf("%s: %s, want %q", d.Command, changes, want[d.Command])
		}
		delete(want, d.Command)
	}
	if len(want) > 0 {
		t.Errorf("not found: %v in\n%s", want, r.stdout)
	}
	if r := tw(t, "diff", before, before); r.status != 0 || !strings.Contains(r.stdout, "no command differs") {
		t.Errorf("a recording differs from itself: %+v", r)
	}
	if r := tw(t, "diff", before, after); r.status != 0 || !strings.Contains(r.stdout, "1 -> 2") {
		t.Errorf("as text: %+v", r)
	}
	for on, status := range map[string]int{"more": 1, "fewer": 0, "new,fewer": 1, "failing": 1} {
		if r := tw(t, "diff", "--fail-on", on, before, after); r.status != status {
			t.Errorf("--fail-on %s: status %d, want %d: %s", on, r.status, status, r.stderr)
		}
	}
}

// Commands are the same whatever tools call their files, and not the same if words
// differ.
func TestDiffOfGeneratedNames(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, pid int, commands ...string) string {
		t.Helper()
		var b strings.Builder
		for i, c := range commands {
			argv, err := json.Marshal(strings.Fields(c))
			if err != nil {
				t.Fatal(err)
			}
			task := fmt.Sprintf(`"task":{"id":"1-%d","pid":%d,"tid":%d,"ppid":1,"argv":%s}`, i+1, pid+i, pid+i, argv)
			fmt.Fprintf(&b, `{"event":"exec","val":0,"seq":%d,"mono_ns":%d,%s}`+"\n", 2*i+1, 2*i+1, task)
			fmt.Fprintf(&b, `{"event":"exit","val":0,"seq":%d,"mono_ns":%d,%s,"exit":{"code":0,"signal":0,"core":false,"group":true}}`+"\n", 2*i+2, 2*i+2, task)
		}
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	before := write("before", 4000, "as -o /build/t/ccX9aBcd.o /tmp/user/1000/ccabcdef.s", "compile /w/go-build123456789/b001/x.a", "rustc -o /t/rustcAb3dEf/lib.rmeta",
		"cc CMakeFiles/CMakeScratch/TryCompile-aB3dEf/t.c -o cmTC_1a2b3", "python3 /t/tmpab1_cd2e/x.py", "ld -plugin-opt=-fresolution=/t/ccQ1w2e3.res", "cc ccparser.o", "report 4007")
	after := write("after", 5000, "as -o /build/t/ccZ1yXwv.o /tmp/user/1000/ccQWERTY.s", "compile /w/go-build987654321/b001/x.a", "rustc -o /t/rustcZz9yXx/lib.rmeta",
		"cc CMakeFiles/CMakeScratch/TryCompile-Zz9yXx/t.c -o cmTC_fffff", "python3 /t/tmpzz9_yx8w/x.py", "ld -plugin-opt=-fresolution=/t/ccZ9y8x7.res", "cc cclexers.o", "report 5007")
	r := tw(t, "diff", "-f", "json", before, after)
	var got struct{ Differences []struct{ Command string } }
	if err := json.Unmarshal([]byte(r.stdout), &got); err != nil || r.status != 0 {
		t.Fatalf("%v: %+v", err, r)
	}
	var commands []string
	for _, d := range got.Differences {
		commands = append(commands, d.Command)
	}
	slices.Sort(commands)
	if want := []string{"cc cclexers.o", "cc ccparser.o"}; !slices.Equal(commands, want) {
		t.Errorf("%q differ, want %q", commands, want)
	}
}

func TestDiffErrors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "empty.jsonl")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{file}, 2, "1 file given"},
		{[]string{"/nowhere", file}, 1, `recording "/nowhere"`},
		{[]string{"--fail-on", "odd", file, file}, 2, "choose from failing, new"},
		{[]string{"--ratio", "0.5", file, file}, 2, "below 1"},
		{[]string{"-f", "xml", file, file}, 2, "xml"},
		{[]string{file, file}, 1, "it is empty; give a file"},
	} {
		if r := tw(t, slices.Concat([]string{"diff"}, c.args)...); r.status != c.status || !strings.Contains(r.stderr, c.want) {
			t.Errorf("%q: status %d, %q, want %d, %q", c.args, r.status, r.stderr, c.status, c.want)
		}
	}
}
