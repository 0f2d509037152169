package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch"
)

// The environment is recorded only where it is asked for, and of it no value
// that is to be left out.
func TestEnv(t *testing.T) {
	file := filepath.Join(t.TempDir(), "events.jsonl")
	for _, c := range []struct {
		flags []string
		want  []string
	}{
		{nil, nil},
		{[]string{"--fields", "env"}, []string{"A=1", "MY_TOKEN=s3cret", "URL=http://u:s3cret@x"}},
		{[]string{"--fields", "env", "--env", "names"}, []string{"A", "MY_TOKEN", "URL"}},
		{[]string{"--fields", "env", "--env-redact", "TOKEN|://[^/]*@"}, []string{"A=1", "MY_TOKEN=[redacted]", "URL=[redacted]"}},
	} {
		args := append([]string{"run", "--source", "ptrace", "-o", file}, c.flags...)
		r := tw(t, append(args, "--", "env", "-i", "A=1", "MY_TOKEN=s3cret", "URL=http://u:s3cret@x", "/bin/echo", "hi")...)
		if r.status != 0 {
			t.Fatalf("%v: status %d, %s", c.flags, r.status, r.stderr)
		}
		var got []string
		for _, ev := range eventsOf(t, file) {
			if ev.Kind == taskwatch.Exec && strings.HasSuffix(ev.Task.Exe, "/echo") && ev.Extra != nil {
				got = ev.Extra.Env
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%v: env is %q, want %q", c.flags, got, c.want)
		}
	}
	for _, flags := range [][]string{{"--env", "names"}, {"--env-redact", "TOKEN|URL"}} { // the parent's values are left out as well
		c := cmd(t, append(append([]string{"run", "--source", "ptrace", "-e", "exec", "--env-diff"}, flags...), "--", "env", "-u", "A", "/bin/true")...)
		c.Env = append(os.Environ(), "A=1", "MY_TOKEN=s3cret", "URL=x")
		if r := finish(t, c); r.status != 0 || !strings.HasSuffix(r.stderr, "- A\n") || strings.Contains(r.stderr, "~ ") || strings.Contains(r.stderr, "+ ") {
			t.Errorf("--env-diff %v: status %d\n%s", flags, r.status, r.stderr)
		}
	}
	for _, c := range [][]string{{"--env", "some"}, {"--env-redact", "("}, {"--env-redact", ""}} {
		if r := tw(t, append(append([]string{"run"}, c...), "--", "true")...); r.status != exitRunFailed || !strings.Contains(r.stderr, c[0]) {
			t.Errorf("%v: status %d, %s", c, r.status, r.stderr)
		}
	}
}
