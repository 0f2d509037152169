package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

// allCommands returns the commands of root, root included, but for those that
// cobra makes and those that taskwatch hides from everybody.
func allCommands(root *cobra.Command) []*cobra.Command {
	list := []*cobra.Command{root}
	for _, c := range root.Commands() {
		if c.Name() != "help" && c.Name() != "completion" && !c.Hidden {
			list = append(list, allCommands(c)...)
		}
	}
	return list
}

// harmless are the commands whose examples can be run by a test: they need no
// privileges, end by themselves, and touch nothing but their directory.
var harmless = []string{"taskwatch run", "taskwatch replay", "taskwatch man"}

// Every example in a help text is a command line that taskwatch takes, and
// those that are harmless work.
func TestExamples(t *testing.T) {
	testutil.RequireTool(t, "make")
	testutil.Require(t, testutil.NeedsCompiler("cc"))
	t.Parallel()
	dir := t.TempDir()
	makeProject(t, dir)
	if err := os.WriteFile(filepath.Join(dir, "events.jsonl"), []byte(recording()), 0o644); err != nil {
		t.Fatal(err)
	}
	buildRule(t, filepath.Join(dir, "rule.wasm"))
	buildRule(t, filepath.Join(dir, "count.wasm"))
	ran := map[string]bool{}
	for _, c := range allCommands(newRoot()) {
		examples := strings.Split(strings.TrimSpace(c.Example), "\n")
		if c.Example == "" {
			if c.Runnable() {
				t.Errorf("%s: no example", c.CommandPath())
			}
			continue // a group of commands, or a topic of help
		}
		for _, line := range examples {
			line = strings.TrimSpace(line)
			args := shellArgs(t, dir, line)
			root := newRoot()
			named, rest, err := root.Find(args)
			if err != nil {
				t.Errorf("%s: example %q: %v", c.CommandPath(), line, err)
				continue
			}
			if err := named.ParseFlags(rest); err != nil {
				t.Errorf("%s: example %q: %v", c.CommandPath(), line, err)
				continue
			}
			if err := named.ValidateArgs(named.Flags().Args()); err != nil {
				t.Errorf("%s: example %q: %v", c.CommandPath(), line, err)
				continue
			}
			if !slices.Contains(harmless, named.CommandPath()) || ran[line] || strings.HasPrefix(line, "sudo ") {
				continue
			}
			if named.Flags().Changed("tui") {
				continue // it needs a terminal: TestRunTUI has one
			}
			ran[line] = true
			sh := cmd(t)
			sh.Path, sh.Args, sh.Dir = "/bin/sh", []string{"sh", "-c", line}, dir
			sh.Env = append(os.Environ(), "PATH="+filepath.Dir(binary(t))+":"+os.Getenv("PATH"))
			if r := finish(t, sh); r.status != 0 || strings.Contains(r.stderr, "taskwatch: ") {
				t.Errorf("%s: example %q: status %d, stderr:\n%s", c.CommandPath(), line, r.status, r.stderr)
			}
		}
	}
	if len(ran) == 0 {
		t.Error("no example was run")
	}
}

// shellArgs returns the arguments of taskwatch in an example, as a shell finds
// them.
func shellArgs(t *testing.T, dir, line string) []string {
	t.Helper()
	script := `taskwatch() { printf '%s\0' "$@"; }; sudo() { "$@"; }; ` + line
	sh := exec.Command("/bin/sh", "-c", script)
	sh.Dir = dir
	out, err := sh.Output()
	if err != nil || len(out) == 0 {
		t.Fatalf("example %q is no command line of taskwatch: %v", line, err)
	}
	return strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
}

func TestHelpFits(t *testing.T) {
	for _, c := range allCommands(newRoot()) {
		for _, text := range []string{c.Long, c.Example} {
			for line := range strings.Lines(text) {
				if n := len([]rune(strings.TrimRight(line, "\n"))); n > 80 {
					t.Errorf("%s: a line of %d columns: %q", c.CommandPath(), n, line)
				}
			}
		}
		if c.Short == "" || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: one line about it: %q", c.CommandPath(), c.Short)
		}
	}
}

func TestRootHelpAndErrors(t *testing.T) {
	for _, c := range []struct {
		args   []string
		status int
		stdout string
		stderr string
	}{
		{nil, 0, "Watch and look back:\n  run ", ""},
		{[]string{"--help"}, 0, "Watch and look back:\n  run ", ""},
		{[]string{"help", "run"}, 0, "taskwatch run [flags] -- COMMAND [ARG...]", ""},
		{[]string{"run", "--help"}, 0, "taskwatch run [flags] -- COMMAND [ARG...]", ""},
		{[]string{"help", "filter"}, 0, "An expression in CEL", ""},
		{[]string{"help", "module", "build"}, 0, "taskwatch module build ", ""},
		{[]string{"help", "dance"}, 2, "", "taskwatch: no help on \"dance\": there is no such command or topic\ntaskwatch: see 'taskwatch help --help'\n"},
		{[]string{"help", "module", "dance"}, 2, "", "taskwatch: no help on \"module dance\": there is no such command or topic\ntaskwatch: see 'taskwatch help --help'\n"},
		{[]string{"--version"}, 0, "taskwatch ", ""},
		{[]string{"bench", "--pairs", "x"}, 2, "", "taskwatch: --pairs \"x\": give a whole number\ntaskwatch: see 'taskwatch bench --help'\n"},
		{[]string{"run", "-p", "x"}, 125, "", "taskwatch: --pid \"x\": give a whole number\ntaskwatch: see 'taskwatch run --help'\n"},
		{[]string{"bench", "--pairs", "99999999999999999999"}, 2, "", "taskwatch: --pairs \"99999999999999999999\": that number is too large; give a whole number\ntaskwatch: see 'taskwatch bench --help'\n"},
		{[]string{"bench", "--run", "5"}, 2, "", "taskwatch: --run \"5\": give a time with its unit, like 200ms or 1m30s\ntaskwatch: see 'taskwatch bench --help'\n"},
		{[]string{"dance"}, 2, "", "taskwatch: unknown command \"dance\" for \"taskwatch\"\ntaskwatch: see 'taskwatch --help'\n"},
		{[]string{"--dance"}, 2, "", "taskwatch: unknown flag: --dance\ntaskwatch: see 'taskwatch --help'\n"},
	} {
		r := tw(t, c.args...)
		if r.status != c.status || !strings.Contains(r.stdout, c.stdout) || r.stderr != c.stderr {
			t.Errorf("%q: %+v, want %+v", c.args, r, c)
		}
	}
}

func TestManPages(t *testing.T) {
	dir := t.TempDir()
	if r := tw(t, "man", dir); r != (result{}) {
		t.Fatalf("%+v", r)
	}
	for _, c := range allCommands(newRoot()) {
		if c.Hidden || c.IsAdditionalHelpTopicCommand() {
			continue
		}
		page, err := os.ReadFile(filepath.Join(dir, strings.ReplaceAll(c.CommandPath(), " ", "-")+".1"))
		if err != nil {
			t.Error(err)
			continue
		}
		for line := range strings.Lines(c.Long) { // none of it is markup
			if line = roff(strings.TrimSuffix(line, "\n")); line != "" && !bytes.Contains(page, []byte("\n"+line+"\n")) {
				t.Errorf("the page of %s lacks %q", c.CommandPath(), line)
			}
		}
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if name := `\fB\-\-` + roff(f.Name) + `\fP`; !bytes.Contains(page, []byte(name)) {
				t.Errorf("the page of %s lacks --%s", c.CommandPath(), f.Name)
			}
		})
	}
	if r := tw(t, "man", "/no/such/dir"); r.status != exitFailed || !strings.Contains(r.stderr, "/no/such/dir") {
		t.Errorf("a directory that is not there: %+v", r)
	}
}

func TestCompletion(t *testing.T) {
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{"r"}, []string{"run", "replay"}},
		{[]string{"run", "--format", ""}, []string{"text", "json"}},
		{[]string{"run", "--source", "a"}, []string{"auto"}},
		{[]string{"insmod", ""}, []string{"o", "wasm", ":8"}}, // files with these endings
		{[]string{"insmod", "count.o", ""}, []string{":4"}},   // no files
		{[]string{"insmod", "fork"}, []string{"forkguard", ":4"}},
		{[]string{"module", "new", "--from", "exec"}, []string{"execguard", "execrule"}},
		{[]string{"module", "build", ""}, []string{"c", "go", ":8"}},
		{[]string{"watch", "--cgroup", ""}, []string{":16"}}, // directories
		{[]string{"replay", "-e", "exec,"}, []string{"exec,init", "exec,exit"}},
	} {
		r := tw(t, append([]string{"__complete"}, c.args...)...)
		var offered []string
		for line := range strings.Lines(r.stdout) {
			word, _, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
			offered = append(offered, word)
		}
		for _, want := range c.want {
			if !slices.Contains(offered, want) {
				t.Errorf("%q offers %q, want %q in it", c.args, offered, want)
			}
		}
	}
	bash := testutil.RequireTool(t, "bash")
	script := tw(t, "completion", "bash").stdout
	check := exec.Command(bash, "-n")
	check.Stdin = strings.NewReader(script)
	if out, err := check.CombinedOutput(); err != nil || script == "" {
		t.Errorf("bash does not take its completion script: %v\n%s", err, out)
	}
}

// A value that a flag cannot have is explained in the words of taskwatch, and
// not in those of package strconv, whichever command has the flag.
func TestFlagValues(t *testing.T) {
	for _, c := range allCommands(newRoot()) {
		c.Flags().VisitAll(func(f *pflag.Flag) {
			switch f.Value.Type() {
			case "int", "int32", "int64", "uint", "uint32", "uint64", "float64", "duration", "bool":
			default:
				return
			}
			err := c.ParseFlags([]string{"--" + f.Name + "=many"})
			if err == nil {
				t.Fatalf("%s takes --%s=many", c.CommandPath(), f.Name)
			}
			if msg := c.FlagErrorFunc()(c, err).Error(); !strings.HasPrefix(msg, fmt.Sprintf(`--%s "many": give `, f.Name)) {
				t.Errorf("%s says %q", c.CommandPath(), msg)
			}
		})
	}
}
