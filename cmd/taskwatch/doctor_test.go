package main

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/doctor"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/module/kernel"
)

// examined returns what doctor finds, as root or as another user.
func examined(t testing.TB, user int) (*doctor.Diagnosis, map[string]map[string]doctor.Event) {
	t.Helper()
	c := cmd(t, "doctor", "-f", "json")
	if user != 0 {
		c.Dir = "/"
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(user), Gid: uint32(user)}}
	}
	r := finish(t, c)
	if r.status != 0 || r.stderr != "" {
		t.Fatalf("doctor: status %d, stderr %q", r.status, r.stderr)
	}
	d := new(doctor.Diagnosis)
	if err := json.Unmarshal([]byte(r.stdout), d); err != nil {
		t.Fatalf("%v in %s", err, r.stdout)
	}
	events := map[string]map[string]doctor.Event{}
	for _, s := range d.Sources {
		events[s.Name] = map[string]doctor.Event{}
		for _, e := range s.Events {
			events[s.Name][e.Event] = e
		}
	}
	return d, events
}

// TestDoctor compares what doctor found by trying with what the packages say
// of this kernel.
func TestDoctor(t *testing.T) {
	testutil.Root(t)
	d, events := examined(t, 0)
	support, err := kernel.Probe()
	if err != nil {
		t.Fatal(err)
	}
	tier := "3: observe only"
	switch {
	case support.LSM == nil:
		tier = "1: veto by BPF LSM"
	case support.ModifyReturn == nil:
		tier = "2: veto by fmod_ret"
	}
	if d.Tier != tier {
		t.Errorf("the tier is %q, want %q", d.Tier, tier)
	}
	for _, k := range taskwatch.AllKinds.List() {
		e, s := events["bpf"][k.String()], support.Events()[k]
		if e.Seen != doctor.Found || e.KernelModules != doctor.Found || e.Hook != strings.Join(s.Observe, "; ") {
			t.Errorf("bpf: %s is %+v", k, e)
		}
		if can := k.Vetoable() && s.Veto != ""; (e.Veto == doctor.Found) != can || can != (e.VetoHook == s.Veto) && can {
			t.Errorf("bpf: the veto of %s is %q at %q, want it at %q", k, e.Veto, e.VetoHook, s.Veto)
		} else if !can && k.Vetoable() && e.Why == "" {
			t.Errorf("bpf: nothing says why %s cannot be denied", k)
		}
		e = events["ptrace"][k.String()]
		if e.Seen != doctor.Found || (e.Veto == doctor.Found) != k.Vetoable() {
			t.Errorf("ptrace: %s is %+v", k, e)
		}
		e = events["connector"][k.String()]
		absent := k == taskwatch.Init || k == taskwatch.Free
		lost := e.Seen == doctor.Untried && strings.Contains(e.Why, "too busy") // it has the messages of all tasks
		if e.Declared == absent || (e.Seen == doctor.Found || lost) == absent || e.Veto != doctor.NotFound || absent && e.Why == "" {
			t.Errorf("connector: %s is %+v", k, e)
		}
	}
}

func TestDoctorAsText(t *testing.T) {
	testutil.Root(t)
	r := tw(t, "doctor")
	if r.status != 0 || r.stderr != "" {
		t.Fatalf("doctor: %+v", r)
	}
	for _, want := range []string{
		`^watch: +yes, with the source bpf\nkernel modules: yes\ndeny: +(yes, init, exec|no, in the kernel, because )`,
		`(?m)^Linux \d+\.\d+\S* \(\w+\), as user 0$`,
		`(?m)^tier of vetoes in the kernel: [123]: `,
		`(?m)^source bpf: the machine, a cgroup, or a process tree\n  EVENT +SEEN +VETO +KERNEL MODULES +HOOK\n  init +yes `,
		`(?m)^source connector: `,
		`(?m)^source ptrace: one command and its descendants\n.*\n  init +yes +yes +no `,
		`(?m)^  kernel BTF +yes`,
	} {
		if !regexp.MustCompile(want).MatchString(r.stdout) {
			t.Errorf("nothing like %s in\n%s", want, r.stdout)
		}
	}
	for line := range strings.Lines(r.stdout) {
		if n := len(strings.TrimSuffix(line, "\n")); n > 80 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
}

// TestDoctorWithoutPrivileges: what cannot be tried is said to be so.
func TestDoctorWithoutPrivileges(t *testing.T) {
	testutil.Root(t) // to become somebody else
	d, events := examined(t, nobody)
	i := slices.IndexFunc(d.Sources, func(s doctor.Source) bool { return s.Name == "bpf" })
	if s := d.Sources[i]; s.Works || !strings.Contains(s.Why, "CAP_BPF and CAP_PERFMON") || d.Tier != "" {
		t.Errorf("bpf is %+v, with tier %q", s, d.Tier)
	}
	for kind, want := range map[string]string{"init": doctor.Found, "exec": doctor.Found, "uid": doctor.Untried, "gid": doctor.Untried} {
		if e := events["ptrace"][kind]; e.Seen != want || e.Veto != want {
			t.Errorf("ptrace: %s is %+v, want %q", kind, e, want)
		}
	}
}
