package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

// The commands of docs/ui.md work as they stand there.
func TestDocumentedUICommands(t *testing.T) {
	testutil.RequireTool(t, "curl")
	blocks := regexp.MustCompile("(?ms)^```shell\n(.*?)^```$").FindAllStringSubmatch(string(readFile(t, "../../docs/ui.md")), -1)
	if len(blocks) != 1 {
		t.Fatalf("%d blocks of commands", len(blocks))
	}
	c := pageShell(t, blocks[0][1]+"\nwait\n", t.TempDir())
	c.Env = append(os.Environ(), pagePath(t))
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	for _, want := range []string{`"hint":"did you mean code?"`, "\nM ", "\nC ", "Z\t\"\"\n", "the link was used"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the commands do not show %q:\n%s", want, out)
		}
	}
}
