package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

// notRun are the sh blocks of the documentation that the test below cannot
// run, and why.
var notRun = map[string]string{
	"go test ./...\n": "it would run this test in turn",
	".ci/run\n":       "it would run this test in turn, and installs packages",
}

// shBlock is a fenced block of commands.
var shBlock = regexp.MustCompile("(?ms)^```sh\n(.*?)^```$")

// Commands in the documentation are run as they stand there, file by file in
// their order: those of README.md and CONTRIBUTING.md in the root of the
// module, the others in an empty directory with taskwatch in PATH. (Those that
// are for root are marked shell: see TestDocumentedModuleCommands.)
func TestDocumentedCommands(t *testing.T) {
	testutil.Require(t, testutil.NeedsSource("../../docs"))
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	docs, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for _, doc := range append([]string{filepath.Join(root, "README.md"), filepath.Join(root, "CONTRIBUTING.md")}, docs...) {
		text, err := os.ReadFile(doc)
		if err != nil {
			t.Fatal(err)
		}
		var run []string
		for _, m := range shBlock.FindAllSubmatch(text, -1) {
			block := string(m[1])
			if _, ok := notRun[block]; ok {
				listed[block] = true
			} else {
				run = append(run, block)
			}
		}
		if len(run) == 0 {
			continue
		}
		t.Run(filepath.Base(doc), func(t *testing.T) {
			if filepath.Dir(doc) != root {
				runBlocks(t, t.TempDir(), run)
				return
			}
			testutil.Require(t, testutil.Need{
				What:   "a checkout that may be written",
				Remedy: "run the tests as its owner",
				Met:    func() bool { return unix.Access(root, unix.W_OK) == nil },
			})
			testutil.Nightly(t) // the gate runs them in an empty root
			keepFile(t, filepath.Join(root, "events.jsonl"))
			before := entries(t, root)
			runBlocks(t, root, run)
			for _, name := range entries(t, root) {
				if !slices.Contains(before, name) && name != "events.jsonl" {
					t.Errorf("the commands leave %s behind", name)
				}
			}
			if len(eventsOf(t, filepath.Join(root, "events.jsonl"))) == 0 {
				t.Error("the main command recorded nothing")
			}
		})
	}
	for block := range notRun {
		if !listed[block] {
			t.Errorf("notRun lists what no document has: %q", block)
		}
	}
}

func runBlocks(t *testing.T, dir string, blocks []string) {
	t.Helper()
	for _, block := range blocks {
		sh := cmd(t)
		sh.Path, sh.Args, sh.Dir = "/bin/sh", []string{"sh", "-eu", "-c", block}, dir
		sh.Env = append(os.Environ(), "PATH="+filepath.Dir(binary(t))+":"+os.Getenv("PATH"))
		if r := finish(t, sh); r.status != 0 {
			t.Errorf("status %d of\n%s\n%s%s", r.status, block, r.stdout, r.stderr)
		}
	}
}

func entries(t *testing.T, dir string) (names []string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names
}

// keepFile puts a file back as it is now, or removes it, when the test has
// ended.
func keepFile(t *testing.T, name string) {
	t.Helper()
	old, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err != nil {
			os.Remove(name)
		} else if err := os.WriteFile(name, old, 0o644); err != nil {
			t.Error(err)
		}
	})
	os.Remove(name)
}

// Links between the documents lead somewhere.
func TestDocumentedLinks(t *testing.T) {
	testutil.Require(t, testutil.NeedsSource("../../docs"))
	link := regexp.MustCompile(`\]\(([^)#:]+)\)`)
	for _, pattern := range []string{"../../*.md", "../../docs/*.md", "../../docs/howto/*.md"} {
		docs, err := filepath.Glob(pattern)
		if err != nil || len(docs) == 0 {
			t.Fatalf("%s: %v, %v", pattern, docs, err)
		}
		for _, doc := range docs {
			text, err := os.ReadFile(doc)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range link.FindAllSubmatch(text, -1) {
				if _, err := os.Stat(filepath.Join(filepath.Dir(doc), string(m[1]))); err != nil {
					t.Errorf("%s: %v", strings.TrimPrefix(doc, "../../"), err)
				}
			}
		}
	}
}
