package modules

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/module/kernel"
	stock "github.com/taskwatch/taskwatch/modules"
	"github.com/taskwatch/taskwatch/sink/audit"
)

// loadStock registers a stock module in the kernel until the test ends.
func loadStock(t *testing.T, live *taskwatch.Registry, name string, opts kernel.LoadOptions) *kernel.Module {
	t.Helper()
	return register(t, watchOurselves(t, live).Table(), name, stock.Find(name).Object(), opts, kernel.RegisterOptions{})
}

// audited is a run of the program audited, and what was written of it.
type audited struct {
	program, dir string
	pid, child   int
	auid         string // as the kernel has it
	text         string
	uid, gid     int // that it was started with
	before       time.Time
}

func (a *audited) helper() string { return filepath.Join(a.dir, "helper") }

// byUser is a rule about the user that the program runs as.
func byUser(key string) func(a *audited) map[string]string {
	return func(a *audited) map[string]string { return map[string]string{"uid": strconv.Itoa(a.uid), "key": key} }
}

// runAudited runs the program as a user of its own, with auditrec loaded. There is
// a copy of it, helper.
func runAudited(t *testing.T, uid int, params func(a *audited) map[string]string, env ...string) *audited {
	t.Helper()
	testutil.Root(t)
	dir, err := os.MkdirTemp("", "taskwatch-audit-") // the directories of tests are root's alone
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	a := &audited{program: filepath.Join(dir, "audited"), dir: dir, uid: uid, gid: uid + 1}
	b, err := os.ReadFile(testutil.BuildC(t, "-static", "testdata/audited.c"))
	if err = errors.Join(err, os.Chmod(dir, 0o755), os.WriteFile(a.program, b, 0o755), os.WriteFile(a.helper(), b, 0o755)); err != nil {
		t.Fatal(err)
	}
	auid, err := os.ReadFile("/proc/self/loginuid")
	if a.auid = string(auid); err != nil {
		a.auid = "4294967295" // the kernel keeps none
	}
	var mu sync.Mutex
	var buf bytes.Buffer
	lines := audit.New(&buf)
	var live taskwatch.Registry
	if err := live.Attach(taskwatch.NewSink(nil, func(it taskwatch.Item) {
		mu.Lock()
		defer mu.Unlock()
		lines.Take(it)
	})); err != nil {
		t.Fatal(err)
	}
	loadStock(t, &live, audit.Module, kernel.LoadOptions{Params: params(a)})

	a.before = time.Now().Add(-time.Second)
	cmd := exec.Command(a.program)
	cmd.Dir, cmd.Env = a.dir, append(env, "NO=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Credential: &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid)},
	}
	out, err := cmd.Output()
	var failed *exec.ExitError
	if !errors.As(err, &failed) || failed.Sys().(syscall.WaitStatus).Signal() != syscall.SIGSEGV {
		t.Fatalf("%v: %s", err, out)
	}
	a.pid = cmd.Process.Pid
	if a.child, err = strconv.Atoi(strings.TrimSpace(string(out))); err != nil {
		t.Fatal(err)
	}
	end := regexp.MustCompile(fmt.Sprintf(` pid=%d comm="audited".* sig=11 `, a.pid))
	for until := time.Now().Add(2 * time.Minute); ; time.Sleep(10 * time.Millisecond) {
		mu.Lock()
		err := lines.Close(context.Background())
		a.text = buf.String()
		mu.Unlock()
		if err != nil {
			t.Fatal(err)
		}
		if end.MatchString(a.text) {
			return a
		}
		if time.Now().After(until) {
			t.Fatalf("there is no %s in\n%s", end, a.text)
		}
	}
}

// of returns the lines of a process, without their stamps, and checks these.
func (a *audited) of(t *testing.T, pid int) (list []string) {
	t.Helper()
	stamped := regexp.MustCompile(`^(type=[A-Z_]+ )msg=audit\((\d+\.\d{3}):\d+\): (.*)\n$`)
	group := ""
	for line := range strings.Lines(a.text) {
		m := stamped.FindStringSubmatch(line)
		if m == nil {
			t.Fatalf("line %q", line)
		}
		stamp := line[strings.Index(line, "msg="):strings.Index(line, "): ")]
		at, err := strconv.ParseFloat(m[2], 64)
		if when := time.UnixMilli(int64(at * 1000)); err != nil || when.Before(a.before) || when.After(time.Now()) {
			t.Errorf("line %q is of another time", line)
		}
		if strings.Contains(line, fmt.Sprintf(" pid=%d ", pid)) {
			group = stamp
		}
		if stamp == group {
			list = append(list, m[1]+m[3])
		}
	}
	return list
}

// auditCalls are the numbers of the system calls that matter, and the machine.
var auditCalls = map[string]struct{ arch, execve, setuid, exitGroup string }{
	"amd64": {"c000003e", "59", "105", "231"},
	"arm64": {"c00000b7", "221", "146", "94"},
}[runtime.GOARCH]

// The lines are what happened, of those that the rule chooses.
func TestAuditRecords(t *testing.T) {
	a := runAudited(t, 54321, byUser("some key"))
	ids := func(uid, gid int) string {
		return fmt.Sprintf("auid=%s uid=%[2]d gid=%[3]d euid=%[2]d suid=%[2]d fsuid=%[2]d egid=%[3]d sgid=%[3]d fsgid=%[3]d tty= ses=", a.auid, uid, gid)
	}
	call := func(number, rest string) string {
		return "type=SYSCALL arch=" + auditCalls.arch + " syscall=" + number + " " + rest
	}
	tail := ` comm="audited" exe="` + a.program + `" key=736F6D65206B6579`
	session := regexp.MustCompile(`( (?:tty|ses)=)\S+`)
	others := regexp.MustCompile(` a1=[0-9a-f]+ a2=[0-9a-f]+ a3=[0-9a-f]+ items`) // which exit does not have
	check := func(who string, got, want []string) {
		t.Helper()
		for i, line := range got {
			got[i] = session.ReplaceAllString(others.ReplaceAllString(line, " items"), "$1")
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s has\n%s\nwant\n%s", who, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	hex := func(s string) string { return strings.ToUpper(fmt.Sprintf("%x", s)) }
	title := strings.Join([]string{a.program, "child", "a b", `q"uote`, "", "\xff\n"}, "\x00")
	check("its child", a.of(t, a.child), []string{
		call(auditCalls.execve, fmt.Sprintf("success=yes exit=0 a0=? a1=? items=1 ppid=%d pid=%d ", a.pid, a.child)) + ids(a.uid, a.gid) + tail,
		`type=EXECVE argc=6 a0="` + a.program + `" a1="child" a2=612062 a3=` + hex(`q"uote`) + ` a4="" a5=FF0A`,
		`type=CWD cwd="` + a.dir + `"`,
		`type=PATH item=0 name="` + a.program + `" nametype=NORMAL`,
		`type=PROCTITLE proctitle=` + hex(title[:min(len(title), 128)]),
		call(auditCalls.exitGroup, fmt.Sprintf("a0=3 items=0 ppid=%d pid=%d ", a.pid, a.child)) + ids(a.uid, a.gid) + tail,
	})

	got := a.of(t, a.pid)
	first := regexp.MustCompile(`^` + regexp.QuoteMeta(call(auditCalls.setuid, fmt.Sprintf("success=yes exit=0 a0=%x ", a.uid))) + `.*` +
		regexp.QuoteMeta(fmt.Sprintf(" ppid=%d pid=%d ", os.Getpid(), a.pid)+strings.TrimSuffix(ids(a.uid, a.gid), "tty= ses=")) + `.* key=736F6D65206B6579$`)
	if len(got) == 0 || !first.MatchString(got[0]) {
		t.Fatalf("the change of the user id is %q, want %s", got, first)
	}
	check("the program", got[1:], []string{
		call(auditCalls.execve, fmt.Sprintf("success=yes exit=0 a0=? a1=? items=1 ppid=%d pid=%d ", os.Getpid(), a.pid)) + ids(a.uid, a.gid) + tail,
		`type=EXECVE argc=1 a0="` + a.program + `"`,
		`type=CWD cwd="` + a.dir + `"`,
		`type=PATH item=0 name="` + a.program + `" nametype=NORMAL`,
		`type=PROCTITLE proctitle="` + a.program + `"`,
		fmt.Sprintf(`type=ANOM_ABEND auid=%s uid=%d gid=%d ses= pid=%d comm="audited" exe="%s" sig=11 res=1`, a.auid, a.uid, a.gid, a.pid, a.program),
	})
}

// Descendants of a recorded task are recorded, whatever they run; others are not.
func TestAuditRuleIsInherited(t *testing.T) {
	a := runAudited(t, 54331, func(a *audited) map[string]string { return map[string]string{"exe": a.program} }, "HELPER=./helper")
	var programs []string
	for line := range strings.Lines(a.text) {
		if name, ok := strings.CutPrefix(line[strings.Index(line, "): ")+3:], `item=0 name="`); ok {
			programs = append(programs, name[:strings.Index(name, `"`)])
		}
	}
	if want := []string{a.program, a.program, "./helper"}; !slices.Equal(programs, want) {
		t.Errorf("execs of %q were recorded, want %q:\n%s", programs, want, a.text)
	}
}

// ausearch and aureport read the lines, and find what was done.
func TestAuditToolsReadRecords(t *testing.T) {
	ausearch, aureport := testutil.RequireTool(t, "ausearch"), testutil.RequireTool(t, "aureport")
	a := runAudited(t, 54341, byUser("tale"))
	file := filepath.Join(t.TempDir(), "a.audit")
	if err := os.WriteFile(file, []byte(a.text), 0o600); err != nil {
		t.Fatal(err)
	}
	// What they say first on a machine where auditd has never run.
	noLogs := regexp.MustCompile(`(?m)^(Could not open dir /var/log/audit|NOTE - using built-in logs).*\n`)
	run := func(tool string, args ...string) string {
		t.Helper()
		out, err := exec.Command(tool, append([]string{"-if", file}, args...)...).CombinedOutput()
		out = noLogs.ReplaceAll(out, nil)
		if err != nil && len(out) > 0 && !strings.Contains(string(out), "<no matches>") {
			t.Errorf("%s %q: %v: %s", tool, args, err, out)
		}
		return string(out)
	}
	session := "-1" // the kernel keeps none
	if b, err := os.ReadFile("/proc/self/sessionid"); err == nil && string(b) != "4294967295" {
		session = string(b)
	}
	pid, child := strconv.Itoa(a.pid), strconv.Itoa(a.child)
	for _, c := range []struct {
		query string
		want  int // records
	}{
		{"-sc execve", 2}, {"-sc setuid", 1}, {"-sc exit_group", 1}, {"-sc openat", 0},
		{"-p " + pid, 3}, {"-p " + child, 2}, {"-pp " + pid, 2}, {"-p 1", 0},
		{"-x " + a.program, 4}, {"-x /no/such", 0}, {"-c audited", 4},
		{"-k tale", 4}, {"-k other", 0}, {"-ui 54341", 4}, {"-ue 54341", 4}, {"-gi 54342", 5}, {"-ui 1", 0}, {"-ua 54341", 5}, {"-ge 54342", 4}, {"-ga 54342", 5}, {"--session " + session, 5},
		{"-ul " + strings.Replace(a.auid, "4294967295", "-1", 1), 5},
		{"-f " + a.program, 2}, {"-m ANOM_ABEND", 1}, {"-m EXECVE", 2}, {"-sv yes", 4}, {"-sv no", 0}, {"-e 0", 3},
		{"-ts recent", 5},
	} {
		out := run(ausearch, append(strings.Fields(c.query), "--raw")...)
		got := map[string]bool{}
		for line := range strings.Lines(out) {
			if i := strings.Index(line, "msg="); i >= 0 {
				got[strings.Fields(line[i:])[0]] = true
			}
		}
		if len(got) != c.want {
			t.Errorf("ausearch %s finds %d, want %d:\n%s\nof\n%s", c.query, len(got), c.want, out, a.text)
		}
	}
	text := run(ausearch, "-sc", "execve", "-p", child, "-i")
	for _, want := range []string{" syscall=execve ", " a2=a b ", " cwd=" + a.dir + " ", " key=tale ", " uid=54341"} {
		if !strings.Contains(strings.ReplaceAll(text, "unknown(54341)", "54341"), want) {
			t.Errorf("ausearch -i shows no %q:\n%s", want, text)
		}
	}
	for _, c := range []struct{ query, want string }{
		{"-x --summary", "4  " + a.program}, {"-k --summary", "4  tale"}, {"-p --summary", "3  " + pid},
		{"-f --summary", "2  " + a.program}, {"-n --summary", "1  "}, {"--comm --summary", "4  audited"},
		{"", "Number of events: 5"},
	} {
		if out := run(aureport, strings.Fields(c.query)...); !strings.Contains(out, c.want) {
			t.Errorf("aureport %s shows no %q:\n%s\nof\n%s", c.query, c.want, out, a.text)
		}
	}
}
