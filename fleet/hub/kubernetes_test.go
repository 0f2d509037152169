package hub

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch/fleet"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

// The daemon of deploy/kubernetes-fleet, with its configuration but for the places of
// things, watches while the node has no token, and joins when it has.
func TestNodeOfKubernetesJoins(t *testing.T) {
	testutil.Root(t)
	testutil.RequireTool(t, "minisign")
	h := startHub(t)
	dir := t.TempDir()
	program := buildTaskwatch(t, runtime.GOARCH)
	command(t, dir, "minisign", "-G", "-W", "-p", "team.pub", "-s", "team.key")
	text, err := os.ReadFile("../../deploy/kubernetes-fleet/taskwatch.toml")
	if err != nil {
		t.Fatal(err)
	}
	config, state := filepath.Join(dir, "taskwatch.toml"), filepath.Join(dir, "state")
	here := strings.NewReplacer("tls://hub.example:4222", h.URL(), "/var/lib/taskwatch", state).Replace(string(text))
	if strings.Count(here, dir) != 1 || strings.Contains(here, "example") {
		t.Fatalf("the configuration is not as this test knows it:\n%s", text)
	}
	if err := os.WriteFile(config, []byte(here), 0o600); err != nil {
		t.Fatal(err)
	}
	said := startDaemon(t, dir, program, "--config", config, "--hub-name", "worker-1", "--hub-dir", filepath.Join(state, "fleet"), "--socket", "s")
	eventually(t, "the daemon says that it has no token", func() bool { return strings.Contains(said.String(), "until it has a token") })
	command(t, dir, program, "lsmod", "--socket", "s")

	loader := h.token(t, fleet.Loader, "team")
	if got := command(t, dir, program, "fleet", "nodes", "--hub", h.URL(), "--hub-token", loader); strings.Contains(got, "worker-1") {
		t.Errorf("a node without a token is there:\n%s", got)
	}
	if err := os.MkdirAll(state, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(h.token(t, fleet.Node, "worker-1"), filepath.Join(state, "node.token")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the node is there", func() bool {
		got := command(t, dir, program, "fleet", "nodes")
		return strings.Contains(got, "worker-1") && strings.Contains(got, "cluster=east")
	})
}
