package hub

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/taskwatch/taskwatch/fleet"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/module/host"
)

// systemd finds nothing wrong with the unit, and it starts what the package
// installs.
func TestUnit(t *testing.T) {
	analyze := testutil.RequireTool(t, "systemd-analyze")
	text, err := os.ReadFile("systemd/taskwatch-hub.service")
	if err != nil {
		t.Fatal(err)
	}
	const program = "/usr/bin/taskwatch-hub"
	if !strings.Contains(string(text), "\nExecStart="+program+" --dir /var/lib/taskwatch-hub $OPTIONS\n") {
		t.Fatal("the unit does not start the hub with the options of /etc/default/taskwatch-hub")
	}
	unit := filepath.Join(t.TempDir(), "taskwatch-hub.service")
	if err := os.WriteFile(unit, []byte(strings.ReplaceAll(string(text), program, buildHub(t))), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(analyze, "verify", unit).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	// --threshold fails beyond ten times the exposure.
	if out, err := exec.Command(analyze, "security", "--offline=true", "--threshold=20", unit).CombinedOutput(); err != nil {
		t.Errorf("systemd-analyze security: %v\n%s", err, out)
	}
}

// The options that the package installs say nothing, and without the comment
// signs only what there is.
func TestInstalledOptions(t *testing.T) {
	program := buildHub(t)
	text, err := os.ReadFile("systemd/taskwatch-hub.default")
	if err != nil {
		t.Fatal(err)
	}
	options := ""
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "#") {
			t.Errorf("as installed it says %q", line)
		}
		if after, ok := strings.CutPrefix(strings.TrimSpace(line), "#OPTIONS="); ok {
			options = strings.Trim(after, `"`)
		}
	}
	if options == "" {
		t.Fatal("it does not show how to give options")
	}
	args := append(strings.Fields(options), "--no-such-flag")
	out, err := exec.Command(program, args...).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "-no-such-flag") {
		t.Errorf("an option is not known: %s", out)
	}
}

// The hub takes what nodes can load, and does not have what loads it: that calls bpf
// when the program starts, which the unit does not let it.
func TestHubLoadsNothing(t *testing.T) {
	if fleet.MaxModule != host.MaxFileSize {
		t.Errorf("the hub takes modules of %d bytes, nodes load %d", fleet.MaxModule, host.MaxFileSize)
	}
	list := command(t, ".", "go", "list", "-deps", "./cmd/taskwatch-hub")
	if !strings.Contains(list, "taskwatch/fleet/hub\n") || strings.Contains(list, "cilium/ebpf") {
		t.Errorf("the hub is built of\n%s", list)
	}
}

// A release says its version, and its man page is of the time of the commit.
func TestVersionAndManPage(t *testing.T) {
	program := buildHub(t, "-ldflags=-X main.releaseVersion=v9.8.7 -X main.releaseTime=2026-01-02T03:04:05Z")
	dir := t.TempDir()
	if got := command(t, dir, program, "version"); !strings.HasPrefix(got, "taskwatch-hub v9.8.7 linux/") {
		t.Errorf("the version is %q", got)
	}
	command(t, dir, program, "man", dir)
	page, err := os.ReadFile(filepath.Join(dir, "taskwatch-hub.1"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"Jan 2026"`, "\n.SH SYNOPSIS\n.nf\ntaskwatch\\-hub \\-\\-dir DIR [", "\n.SH DESCRIPTION\nThe first form", "\\-\\-replicas says"} {
		if !strings.Contains(string(page), want) {
			t.Errorf("the man page does not have %q:\n%s", want, page)
		}
	}
}

// What root does in the directory of a hub belongs to the user of the hub.
func TestRootBecomesOwner(t *testing.T) {
	testutil.Root(t)
	program := buildHub(t)
	dir := t.TempDir()
	const owner = 65534
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) { // others must get there
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	state := filepath.Join(dir, "hub")
	if err := os.Mkdir(state, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(state, owner, owner); err != nil {
		t.Fatal(err)
	}
	token := command(t, dir, program, "enroll", "--dir", state, "--name", "n")
	if !strings.HasPrefix(token, "taskwatch-token-1.") {
		t.Errorf("the token is %q", token)
	}
	if got := command(t, dir, program, "clients", "--dir", state); !strings.Contains(got, " n ") {
		t.Errorf("the clients are %s", got)
	}
	command(t, dir, program, "revoke", "--dir", state, "n")
	files := 0
	err := filepath.WalkDir(state, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		if st, ok := info.Sys().(*syscall.Stat_t); !ok || st.Uid != owner || st.Gid != owner {
			t.Errorf("%s is of the user %d and the group %d", path, st.Uid, st.Gid)
		}
		files++
		return nil
	})
	if err != nil || files < 5 {
		t.Errorf("%d files, %v", files, err)
	}
}
