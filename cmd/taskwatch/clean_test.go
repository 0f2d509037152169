package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch/internal/clean"
	"github.com/taskwatch/taskwatch/module/host"
)

// FuzzTerminal has strangers name and describe things, and wants nothing of
// it on a terminal that is more than text: no control characters, no lines
// that are not ours.
func FuzzTerminal(f *testing.F) {
	for _, s := range []string{"plain", "\x1b[31mred", "a\nstate:  live", "\u009b2J", "\x7f\b", "\xff\xfe", "\u202egnp.exe", "\r", "%s%d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d := moduleDescription{host.Info{
			Name: s, Description: s, Author: s, Version: s, License: s, Watchers: []host.Watcher{{Event: "exec", Function: s}, {Event: "exec", Function: s}},
			Params: []host.Param{{Name: s, Type: s, Default: s, Description: s}}, Maps: []host.Map{{Name: s, Type: s}},
		}}
		l := loadedDescription{
			listedModule: listedModule{Name: s, Reason: s, State: s}, Description: s, Author: s, Version: s, License: s,
			Watchers: []loadedWatcher{{Event: "exec", Function: s}}, Params: []loadedParam{{Name: s, Type: s, Description: s}},
			Globals: []loadedGlobal{{Name: s, Type: s, Value: json.RawMessage(`"x"`)}},
		}
		for what, c := range map[string]struct {
			write func(*bytes.Buffer) error
			lines int
		}{
			"info":    {func(b *bytes.Buffer) error { return d.write(b) }, 9},
			"modinfo": {func(b *bytes.Buffer) error { return l.write(b) }, 0},
			"lsmod":   {func(b *bytes.Buffer) error { return moduleTable{l.listedModule}.write(b) }, 2},
			"json":    {func(b *bytes.Buffer) error { return writeJSON(b, d) }, 0},
			"notice": {func(b *bytes.Buffer) error {
				_, err := fmt.Fprintf(b, "%s: %s\n", clean.Args([]any{s, s})...)
				return err
			}, 1},
			"error": {func(b *bytes.Buffer) error {
				_, err := fmt.Fprintf(b, "%v\n", clean.Args([]any{errors.New(s)})...)
				return err
			}, 0},
		} {
			var b bytes.Buffer
			if err := c.write(&b); err != nil {
				t.Fatal(err)
			}
			if text := strings.ReplaceAll(b.String(), "\n", ""); !clean.Prints(text) {
				t.Errorf("%s of %q writes %q", what, s, &b)
			}
			if n := strings.Count(b.String(), "\n"); c.lines > 0 && n > c.lines {
				t.Errorf("%s of %q writes %d lines: %q", what, s, n, &b)
			}
		}
		var back, want moduleDescription
		plain, _ := json.Marshal(d)
		var b bytes.Buffer
		if err := writeJSON(&b, d); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(json.Unmarshal(b.Bytes(), &back), json.Unmarshal(plain, &want)); err != nil || back.Description != want.Description {
			t.Errorf("%q is another in JSON: %q, %v", want.Description, back.Description, err)
		}
	})
}
