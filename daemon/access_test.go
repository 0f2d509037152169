package daemon

import (
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

const nobody = 65534

// curlAs runs curl as another user, and returns what it says and its exit
// status: 7 is that it could not connect.
func (r *running) curlAs(t testing.TB, uid, gid uint32, groups []uint32, args ...string) (string, int) {
	t.Helper()
	c := exec.CommandContext(t.Context(), testutil.RequireTool(t, "curl"), append([]string{"-sg", "--unix-socket", r.socket}, args...)...)
	c.Dir = "/"
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: gid, Groups: groups}}
	out, err := c.Output()
	if _, ok := err.(*exec.ExitError); err != nil && !ok {
		t.Fatal(err)
	}
	return string(out), c.ProcessState.ExitCode()
}

const (
	listURL   = "http://daemon/taskwatch.v1.Daemon/List"
	loadURL   = "http://daemon/taskwatch.v1.Daemon/Load"
	unloadURL = "http://daemon/taskwatch.v1.Daemon/Unload"
	eventsURL = "http://daemon/events"
)

var jsonBody = []string{"-H", "Content-Type: application/json", "-d"}

// Others cannot connect, where there is no group; its members may read, and
// load nothing.
func TestAccess(t *testing.T) {
	testutil.Root(t)
	file := wasmFile(t, execCounter)
	body := fmt.Sprintf(`{"name":"count","file":%q}`, base64.StdEncoding.EncodeToString(file))
	alone := start(t, Config{Source: "bpf"})
	if st, err := os.Stat(alone.socket); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v, want 0600", st.Mode(), err)
	}
	if out, status := alone.curlAs(t, nobody, nobody, nil, append(jsonBody, "{}", listURL)...); status != 7 || out != "" {
		t.Errorf("without a group, nobody got %q, status %d; want no connection", out, status)
	}
	// If somebody opens the socket to all, the daemon still knows.
	if err := os.Chmod(alone.socket, 0o666); err != nil {
		t.Fatal(err)
	}
	for _, c := range [][]string{append(jsonBody, "{}", listURL), append(jsonBody, body, loadURL), {eventsURL}} {
		out, _ := alone.curlAs(t, nobody, nobody, nil, c...)
		if !strings.Contains(out, "user 65534 may not") || !strings.Contains(out, "only root may") {
			t.Errorf("nobody got %q", out)
		}
	}
	alone.stop(t)

	r := start(t, Config{Source: "bpf", Group: strconv.Itoa(nobody)})
	st, err := os.Stat(r.socket)
	if err != nil || st.Mode().Perm() != 0o660 || st.Sys().(*syscall.Stat_t).Gid != nobody || st.Sys().(*syscall.Stat_t).Uid != 0 {
		t.Errorf("mode %v, %v, want 0660 and the group", st.Mode(), err)
	}
	const other = 34573
	for _, c := range []struct {
		name     string
		uid, gid uint32
		groups   []uint32
		may      bool
	}{
		{"a user of that group", nobody, nobody, nil, true},
		{"a user with that group among others", other, other, []uint32{1, nobody, 2}, true},
		{"another user", other, other, []uint32{1}, false},
	} {
		out, status := r.curlAs(t, c.uid, c.gid, c.groups, append(jsonBody, "{}", listURL)...)
		if may := out == "{}" && status == 0; may != c.may || !may && status != 7 {
			t.Errorf("%s, List: %q, status %d", c.name, out, status)
		}
		if !c.may {
			continue
		}
		for _, change := range [][]string{append(jsonBody, body, loadURL), append(jsonBody, `{"name":"count"}`, unloadURL)} {
			out, _ := r.curlAs(t, c.uid, c.gid, c.groups, change...)
			if !strings.Contains(out, `"code":"permission_denied"`) || !strings.Contains(out, "only root may") {
				t.Errorf("%s changed something: %q", c.name, out)
			}
		}
	}
	if list := r.modules(t); len(list) != 0 {
		t.Errorf("modules %v, want none", list)
	}
	// HTTP/2 knows them as well.
	out, _ := r.curlAs(t, nobody, nobody, nil, append([]string{"--http2-prior-knowledge"}, append(jsonBody, body, loadURL)...)...)
	if !strings.Contains(out, `"code":"permission_denied"`) {
		t.Errorf("HTTP/2, nobody loaded: %q", out)
	}
	out, _ = r.curlAs(t, nobody, nobody, nil, append([]string{"--http2-prior-knowledge"}, append(jsonBody, "{}", listURL)...)...)
	if out != "{}" {
		t.Errorf("HTTP/2, nobody listed: %q", out)
	}
	if !strings.Contains(r.log.String(), "request rejected") {
		t.Error("the rejections are not in the log")
	}
}

func TestGroupThatIsNone(t *testing.T) {
	_, err := New(Config{Socket: openDir(t) + "/s", Group: "no-such-group"})
	if err == nil || !strings.Contains(err.Error(), `no group "no-such-group"`) || !strings.Contains(err.Error(), "groupadd") {
		t.Error(err)
	}
}
