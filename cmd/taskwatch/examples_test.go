package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

// said are the lines of one module in a recording: what it has sent, and how
// many of its errors there are.
func said(t *testing.T, file, module string) (sent []string, failed int) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		var l struct {
			Event, Module string
			JSON          json.RawMessage
		}
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		switch {
		case l.Module != module:
		case l.Event == "emit":
			sent = append(sent, string(l.JSON))
		case l.Event == "error":
			failed++
		}
	}
	return sent, failed
}

// The module slowexec, built by the Go toolchain, in a run by somebody without
// privileges and in the replay of what was recorded then.
func TestSlowexec(t *testing.T) {
	testutil.Long(t)
	testutil.RequireTool(t, "go")
	t.Parallel()
	const script = `/bin/sleep 0.3; /bin/sh -c 'exit 3'; /bin/sh -c 'kill -9 $$'; /bin/true; exit 0`
	c := cmd(t, "run", "-f", "json", "-o", "events.jsonl", "-m", "slowexec.wasm,slow_ms=300", "--globals", "--", "/bin/sh", "-c", script)
	asNobody(t, c)
	module, events := filepath.Join(c.Dir, "slowexec.wasm"), filepath.Join(c.Dir, "events.jsonl")
	source, err := filepath.Abs("../../modules/slowexec/slowexec.go")
	if err != nil {
		t.Fatal(err)
	}
	if r := tw(t, "module", "build", source, "-o", module); r.status != 0 || r.stdout+r.stderr != "" {
		t.Fatalf("module build: %+v", r)
	}
	r := finish(t, c)
	if r.status != 0 || !strings.Contains(r.stderr, "slowexec: commands = 5\nslowexec: failures = 2\n") {
		t.Errorf("run: %+v", r)
	}
	told, _ := said(t, events, "slowexec")
	for _, want := range []struct {
		why  string
		code int
		sig  int
		argv []string
	}{
		{"slow", 0, 0, []string{"/bin/sleep", "0.3"}},
		{"failed", 3, 0, []string{"/bin/sh", "-c", "exit 3"}},
		{"failed", 0, 9, []string{"/bin/sh", "-c", "kill -9 $$"}},
		{"slow", 0, 0, []string{"/bin/sh", "-c", script}},
	} {
		if !slices.ContainsFunc(told, func(s string) bool {
			var got struct {
				Why          []string
				Code, Signal int
				Argv         []string
			}
			err := json.Unmarshal([]byte(s), &got)
			return err == nil && slices.Contains(got.Why, want.why) && got.Code == want.code && got.Signal == want.sig && slices.Equal(got.Argv, want.argv)
		}) {
			t.Errorf("it does not tell %+v in\n%s", want, strings.Join(told, "\n"))
		}
	}

	plain, again := filepath.Join(c.Dir, "plain.jsonl"), filepath.Join(c.Dir, "again.jsonl")
	withoutModules(t, events, plain)
	replayed := tw(t, "replay", "-m", module+",slow_ms=300", "--globals", "-f", "json", "-o", again, plain)
	if replayed.status != 0 || !strings.HasSuffix(r.stderr, replayed.stdout) || replayed.stdout == "" {
		t.Errorf("replay: %+v", replayed)
	}
	if retold, _ := said(t, again, "slowexec"); !slices.Equal(retold, told) {
		t.Errorf("the replay tells\n%s\nand the run told\n%s", strings.Join(retold, "\n"), strings.Join(told, "\n"))
	}
}

// The module execrule denies what fits and nothing else, in a run by somebody
// without privileges; in a replay it says what it would have denied.
func TestExecrule(t *testing.T) {
	testutil.Require(t, testutil.NeedsSource("../../modules/execrule/execrule.c"))
	source, err := os.ReadFile("../../modules/execrule/execrule.c")
	if err != nil {
		t.Fatal(err)
	}
	object := filepath.Join(t.TempDir(), "execrule.wasm")
	buildSandboxed(t, string(source), object)
	run := func(params string, flags ...string) (result, string) {
		t.Helper()
		args := append([]string{"run", "-f", "json", "-o", "events.jsonl"}, flags...)
		c := cmd(t)
		asNobody(t, c)
		module := filepath.Join(c.Dir, "execrule.wasm")
		if err := os.WriteFile(module, readFile(t, object), 0o644); err != nil {
			t.Fatal(err)
		}
		tool := filepath.Join(c.Dir, "tools", "deploy")
		if err := os.Mkdir(filepath.Dir(tool), 0o755); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile("/bin/true")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(tool, b, 0o755); err != nil {
			t.Fatal(err)
		}
		// Seven commands beside the shell.
		script := `for c in "$0" "$0 --force" "$0 -v --force x" "$0 --forceful" "/bin/true --force" "/bin/true" "$0.none --force"; do $c 2>/dev/null; printf "$? "; done`
		if params != "" {
			args = append(args, "-m", module+strings.ReplaceAll(params, "DIR", c.Dir))
		}
		c.Args = append(append(c.Args, args...), "--", "/bin/sh", "-c", script, tool)
		return finish(t, c), c.Dir
	}
	for _, c := range []struct {
		params, want string
		failed       int
	}{
		{",program=DIR/tools/deploy,arg=--force", "0 126 126 0 0 0 127 ", 2},
		{",program=DIR/tools/,arg=--force", "0 126 126 0 0 0 127 ", 2},
		{",program=DIR/tools,arg=--force", "0 0 0 0 0 0 127 ", 0}, // no directory without a slash
		{",program=DIR/tools/,errno=2", "127 127 127 127 0 0 127 ", 4},
		{",arg=--force", "0 126 126 0 126 0 127 ", 3},
		{",errno=1", "0 0 0 0 0 0 127 ", 0}, // nothing is given
	} {
		r, dir := run(c.params)
		_, failed := said(t, filepath.Join(dir, "events.jsonl"), "execrule")
		if r.stdout != c.want || failed != c.failed || r.stderr != "" {
			t.Errorf("%s: %+v and %d errors; want %q and %d", c.params, r, failed, c.want, c.failed)
		}
	}
	_, dir := run("")
	r := tw(t, "replay", "-m", filepath.Join(dir, "execrule.wasm")+",arg=--force", "-f", "json", "-o", filepath.Join(dir, "again.jsonl"), filepath.Join(dir, "events.jsonl"))
	if _, failed := said(t, filepath.Join(dir, "again.jsonl"), "execrule"); r.status != 0 || failed != 3 {
		t.Errorf("replay: %+v and %d errors, want 3", r, failed)
	}
}
