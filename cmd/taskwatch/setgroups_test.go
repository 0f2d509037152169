package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

// The supplementary groups that events tell are those that strace sees set.
func TestSetGroups(t *testing.T) { eachSource(t, testSetGroups) }

const setGroupsScript = `setpriv --groups 7,5,6 setpriv --groups 5,6,7 setpriv --clear-groups true
setpriv --clear-groups --regid 5 --reuid 4 setpriv --groups 3 true; :`

func testSetGroups(t *testing.T, source string) {
	testutil.Root(t)
	strace := testutil.RequireTool(t, "strace")
	testutil.RequireTool(t, "setpriv")
	dir := t.TempDir()
	out, err := exec.Command(strace, "-f", "-qq", "-z", "-e", "trace=setgroups", "-e", "signal=none", "-o", dir+"/truth", "sh", "-c", setGroupsScript).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "setgroups") { // of the one who may not
		t.Fatalf("%v: %s", err, out)
	}
	truth, err := os.ReadFile(dir + "/truth")
	if err != nil {
		t.Fatal(err)
	}
	number := regexp.MustCompile(`\d+`)
	var want []string
	for _, m := range regexp.MustCompile(`setgroups\(\d+, \[([^\]]*)\]\) += 0`).FindAllSubmatch(truth, -1) {
		groups := number.FindAllString(string(m[1]), -1)
		slices.Sort(groups) // as the kernel does, for numbers of one digit
		want = append(want, fmt.Sprint(groups))
	}
	if len(want) != 4 {
		t.Fatalf("strace sees %q:\n%s", want, truth)
	}
	file := filepath.Join(dir, "events.jsonl")
	r := tw(t, "run", "--source", source, "-e", "gid", "--fields", "groups", "-o", file, "--", "sh", "-c", setGroupsScript)
	if r.status != 0 {
		t.Fatalf("status %d, %s", r.status, r.stderr)
	}
	var got []string
	for _, ev := range eventsOf(t, file) {
		if ev.Cause != taskwatch.CauseSetGroups {
			continue
		}
		if ev.OldIDs != ev.Task.GID {
			t.Errorf("setgroups changes %v to %v", ev.OldIDs, ev.Task.GID)
		}
		if ev.Extra == nil {
			t.Fatalf("no groups: %v missing", ev.Missing)
		}
		got = append(got, fmt.Sprint(ev.Extra.Groups))
	}
	if !slices.Equal(got, want) {
		t.Errorf("the groups are set to %q, and strace sees %q", got, want)
	}
}
