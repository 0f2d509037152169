package recorded

import (
	"testing"

	"github.com/taskwatch/taskwatch"
)

// Scripts are known by the name of the task; programs by other names are not taken for
// one.
func TestScript(t *testing.T) {
	for _, c := range []struct {
		comm, exe string
		argv      []string
		want      string
	}{
		{"configure", "/usr/bin/dash", []string{"/bin/sh", "./configure", "-q"}, "./configure"},
		{"a-long-name-for", "/usr/bin/perl", []string{"/usr/bin/perl", "-w", "/opt/a-long-name-for-a-script"}, "/opt/a-long-name-for-a-script"},
		{"sh", "/usr/bin/dash", []string{"sh", "-c", "sh"}, ""},
		{"ls", "/bin/busybox", []string{"/bin/ls", "ls"}, ""},
		{"true", "/bin/true", []string{"/bin/false", "true"}, ""},
		{"3", "/bin/cat", []string{"cat", "3"}, ""}, // by a descriptor
		{"env", "/usr/bin/env", []string{"/usr/bin/env"}, ""},
		{"renamed", "/usr/bin/dash", []string{"/bin/sh", "-c", ":"}, ""},
		{"", "", nil, ""},
	} {
		task := &task{known: taskwatch.AllFields, state: &taskwatch.Task{Comm: c.comm, Exe: c.exe, Argv: c.argv}}
		if got := task.script(); got != c.want {
			t.Errorf("%q of %s as %q: the script is %q, want %q", c.argv, c.exe, c.comm, got, c.want)
		}
		task.known &^= taskwatch.FieldComm
		if got := task.script(); got != "" {
			t.Errorf("without the name of the task it is %q", got)
		}
	}
}
