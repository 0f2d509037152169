package main

import (
	"maps"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/taskwatch/taskwatch/daemon"
)

// A label of the command line stands instead of that of the configuration; given twice, it
// would have two values.
func TestLabelsOfNode(t *testing.T) {
	for _, c := range []struct {
		flags []string
		want  map[string]string
		says  string
	}{
		{nil, map[string]string{"role": "db", "site": "a"}, ""},
		{[]string{"role=ci", "rack="}, map[string]string{"role": "ci", "site": "a", "rack": ""}, ""},
		{[]string{"role=ci", "role=web"}, nil, `"role=web": role is given twice`},
		{[]string{"role"}, nil, `"role": give NAME=VALUE`},
	} {
		var f nodeFlags
		cmd := &cobra.Command{}
		f.add(cmd)
		f.labels = c.flags
		file := daemon.FileHub{Labels: map[string]string{"role": "db", "site": "a"}}
		got, err := f.over(cmd, file)
		switch {
		case c.says == "" && (err != nil || !maps.Equal(got.Labels, c.want)):
			t.Errorf("%q: %v, %v; want %v", c.flags, got.Labels, err, c.want)
		case c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)):
			t.Errorf("%q: %v, want an error that says %q", c.flags, err, c.says)
		}
		if file.Labels["role"] != "db" || len(file.Labels) != 2 {
			t.Errorf("%q: the configuration has become %v", c.flags, file.Labels)
		}
	}
}
