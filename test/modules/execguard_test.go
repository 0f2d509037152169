package modules

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/module/kernel"
	stock "github.com/taskwatch/taskwatch/modules"
)

// guardedExec is an exec that execguard is asked about.
type guardedExec struct {
	name   string
	path   string
	args   []string // argv[0], too
	denied bool

	// unseen says that it is not counted where the exec has happened.
	unseen bool
}

// An argument denies the exec of a program or a script, alone or together with another
// rule. Where the kernel lets nothing be denied, it is counted.
func TestExecguardArguments(t *testing.T) {
	testutil.Root(t)
	p := programsFor(t, "guarded", "other")
	guarded, other := p[0], p[1]
	script := func(name, interpreter string) string {
		t.Helper()
		path := filepath.Join(filepath.Dir(guarded), name)
		if err := os.WriteFile(path, []byte("#!"+interpreter+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const word = "--tw-forbidden" // of nobody else
	longest := strings.Repeat("x", 127)
	byGuarded, gets, guardedScript := script("script", guarded), script("gets", other+" "+word), script("guarded-script", other)
	thousands := slices.Repeat([]string{"a"}, 3000)
	tooMany := slices.Concat([]string{guarded}, slices.Repeat([]string{"a"}, 1<<16), []string{word})
	both := map[string]string{"prefix": guarded, "arg": word}

	all := tiers(t)
	list := []tier{all[0]}
	if worst := all[len(all)-1]; worst.name != all[0].name {
		list = append(list, worst)
	}
	for _, tier := range list {
		table := tableOf(t, tier)
		for _, rule := range []struct {
			name    string
			params  map[string]string
			unknown int
			execs   []guardedExec
		}{
			{"argument", map[string]string{"arg": word}, -1, []guardedExec{ // others may have unknown ones
				{name: "with it", path: other, args: []string{other, "a", word}, denied: true},
				{name: "without", path: other, args: []string{other, "a"}},
				{name: "with a longer one", path: other, args: []string{other, word + "=yes"}},
				{name: "with a shorter one", path: other, args: []string{other, word[:len(word)-1]}},
				{name: "by that name", path: other, args: []string{word}},
				{name: "after thousands", path: other, args: slices.Concat([]string{other}, thousands, []string{word}), denied: true},
				{name: "of a script", path: byGuarded, args: []string{byGuarded, word}, denied: true},
				{name: "after thousands of a script", path: byGuarded, args: slices.Concat([]string{byGuarded}, thousands, []string{word}), denied: true},
				{name: "of an interpreter", path: gets, args: []string{gets, "a"}},
			}},
			{"program and argument", both, 1, []guardedExec{
				{name: "both", path: guarded, args: []string{guarded, word}, denied: true},
				{name: "another program", path: other, args: []string{other, word}},
				{name: "another argument", path: guarded, args: []string{guarded, "a"}},
				{name: "a script that it runs", path: byGuarded, args: []string{byGuarded, word}, denied: true},
				{name: "a script that another runs", path: guardedScript, args: []string{guardedScript, word}, denied: true, unseen: true},
				{name: "more than are looked at", path: guarded, args: tooMany},
			}},
			{"long argument", map[string]string{"arg": longest}, -1, []guardedExec{
				{name: "equal", path: other, args: []string{other, longest}, denied: true},
				{name: "longer", path: other, args: []string{other, longest + "y"}},
			}},
			{"unknown arguments", map[string]string{"prefix": guarded, "arg": word, "deny_unknown_args": "y"}, 1, []guardedExec{
				{name: "more than are looked at", path: guarded, args: tooMany, denied: true},
				{name: "none of it", path: guarded, args: []string{guarded, "a"}},
			}},
		} {
			t.Run(tier.name+"/"+rule.name, func(t *testing.T) {
				if rule.params["prefix"] != "" {
					testutil.Require(t, testutil.NeedsMountedRoot) // the kernel compares with whole paths
				}
				m := register(t, table, "execguard", stock.Find("execguard").Object(),
					kernel.LoadOptions{Params: rule.params}, kernel.RegisterOptions{AllowObserveOnly: !tier.denies(), AllowBestEffort: true})
				refused := 0
				for _, e := range rule.execs {
					err := (&exec.Cmd{Path: e.path, Args: e.args}).Run() // its input is empty
					if want := e.denied && tier.denies(); errors.Is(err, os.ErrPermission) != want || (err != nil) != want {
						t.Errorf("%s: %v, want denied=%v", e.name, err, want)
					}
					if e.denied && (tier.denies() || !e.unseen) {
						refused++
					}
					globals, err := m.Globals()
					if got := fmt.Sprint(seenIn(t, globals, err)["refused"]); got != fmt.Sprint(refused) {
						t.Fatalf("%s: %s execs are counted, want %d", e.name, got, refused)
					}
				}
				globals, err := m.Globals()
				if got := fmt.Sprint(seenIn(t, globals, err)["unknown_args"]); rule.unknown >= 0 && got != fmt.Sprint(rule.unknown) {
					t.Errorf("of %s execs not all arguments are known, want %d", got, rule.unknown)
				}
			})
		}
	}
}
