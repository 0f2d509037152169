package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

// howtos are the pages of docs/howto, with what their commands must show.
var howtos = map[string][]string{
	"slow-build.md":   {"sleep 0.3", "critical path"},
	"installer.md":    {"cp /bin/true prefix/bin/tool", "USER"},
	"container.md":    {},
	"became-root.md":  {},
	"fork-bomb.md":    {"forkguard"},
	"module-in-go.md": {"shells: shells = 2"},
	"module-in-c.md":  {"failed: failed = 1"},
	"daemon-log.md":   {"/bin/ls /"},
}

// howtoBlock is a block of commands, for anybody (sh) or for root (shell).
var howtoBlock = regexp.MustCompile("(?ms)^```(?:sh|shell)\n(.*?)^```$")

// The commands of each page work as they stand there, one after the other in
// one shell, in a directory that has modules/ and nothing else. A watch is
// ended once it has seen something; it observes where the kernel lets nobody deny.
func TestHowtos(t *testing.T) {
	testutil.Require(t, testutil.NeedsSource("../../docs"))
	pages, err := filepath.Glob("../../docs/howto/*.md")
	if err != nil || len(pages) != len(howtos) {
		t.Fatalf("pages %q, %v; the test knows %d", pages, err, len(howtos))
	}
	path := pagePath(t)
	for _, page := range pages {
		t.Run(filepath.Base(page), func(t *testing.T) {
			want, ok := howtos[filepath.Base(page)]
			if !ok {
				t.Fatal("the test does not know what the page must show")
			}
			text := string(readFile(t, page))
			if n := strings.Count(text, "\n"); n > 60 {
				t.Errorf("%d lines are no screen", n)
			}
			var script strings.Builder
			for _, m := range howtoBlock.FindAllStringSubmatch(text, -1) {
				script.WriteString(m[1])
			}
			if script.Len() == 0 {
				t.Fatal("no commands")
			}
			if strings.Contains(script.String(), "sudo ") {
				testutil.Root(t)
			}
			if strings.Contains(script.String(), "=/sys/fs/cgroup$(") {
				var st unix.Statfs_t
				testutil.Require(t, testutil.Need{
					What: "cgroup v2 at /sys/fs/cgroup", Remedy: "mount -t cgroup2 none /sys/fs/cgroup",
					Met: func() bool { return unix.Statfs("/sys/fs/cgroup", &st) == nil && st.Type == unix.CGROUP2_SUPER_MAGIC },
				})
			}
			if strings.Contains(script.String(), "curl ") {
				testutil.RequireTool(t, "curl")
			}
			if strings.Contains(script.String(), ".c -o") || strings.Contains(script.String(), "build big.c") {
				needsClang(t)
			}
			if strings.Contains(script.String(), "module build shells.go") {
				testutil.RequireTool(t, "go")
				testutil.Long(t)
			}
			t.Parallel() // each has a directory of its own
			dir := pageDir(t)
			c := pageShell(t, script.String(), dir)
			c.Env = append(os.Environ(), path)
			out, err := c.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s\n%s", err, script.String(), out)
			}
			for _, text := range want {
				if !strings.Contains(string(out), text) {
					t.Errorf("the commands do not show %q:\n%s", text, out)
				}
			}
		})
	}
}
