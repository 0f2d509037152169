package features

import (
	"strings"
	"testing"
)

// What is denied by a container is not what the kernel lacks.
func TestDenial(t *testing.T) {
	const all = "         0          0 4294967295\n"
	for _, c := range []struct{ name, status, uidMap, lockdown, says string }{
		{"nothing", "Name:\tx\nSeccomp:\t0\nSeccomp_filters:\t0\n", all, "[none] integrity confidentiality\n", ""},
		{"unreadable", "", "", "", ""},
		{"seccomp", "Name:\tx\nSeccomp:\t2\nSeccomp_filters:\t1\n", all, "", "seccomp"},
		{"a user namespace", "Seccomp:\t2\n", "         0     100000      65536\n", "", "user namespace"},
		{"one of several ranges", "", "0 1000 1\n1 100000 65536\n", "", "user namespace"},
		{"lockdown", "Seccomp:\t0\n", all, "none [integrity] confidentiality\n", "lockdown=none"},
	} {
		got := denial(c.status, c.uidMap, c.lockdown)
		if (got == "") != (c.says == "") || !strings.Contains(got, c.says) {
			t.Errorf("%s: %q, want %q", c.name, got, c.says)
		}
	}
}
