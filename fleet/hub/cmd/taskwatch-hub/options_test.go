package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A command line that makes no sense ends with what is wrong and what to do, and
// nothing is made.
func TestMistakes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "hub")
	for line, says := range map[string]string{
		"":                               "no directory given: --dir DIR",
		"enrol --dir DIR":                `unknown command "enrol"`,
		"enrol":                          `unknown command "enrol"`,
		"--dir DIR enroll":               "the command comes first: taskwatch-hub enroll --dir DIR",
		"--dir DIR now":                  `unexpected argument "now"`,
		"--dir DIR --role loader":        "--role is not for 'taskwatch-hub'",
		"enroll --dir DIR --listen :1":   "--listen is not for 'taskwatch-hub enroll'",
		"enroll --dir DIR --role boss":   `--role: unknown role "boss"; choose node, reader or loader`,
		"enroll --dir DIR --life 0s":     "--life 0s: give a time above 0",
		"enroll --dir DIR --life -1h":    "--life -1h0m0s: give a time above 0",
		"enroll --dir DIR --name a\x1bb": "give up to 128 bytes of text",
		"enroll --dir DIR --name " + strings.Repeat("n", 129): "give up to 128 bytes of text",
		"clients --dir DIR":                  "is no directory of a hub",
		"clients --dir DIR -f xml":           `--format "xml": give text or json`,
		"revoke --dir DIR bob":               "is no directory of a hub",
		"revoke --dir DIR":                   "give one client",
		"revoke --dir DIR bob carol":         "give one client",
		"version --dir DIR":                  "--dir is not for 'taskwatch-hub version'",
		"nats-config --dir DIR --colour red": "flag provided but not defined: -colour",
		"--dir OTHER --host hub:4222":        `"hub:4222" is not what clients may call the hub; give a name or an address, without a port`,
		"--dir OTHER --host tls://hub":       "without a port",
		"--dir OTHER --listen 4222":          "it looks like :4222 or HOST:4222",
		"--dir OTHER --listen :70000":        "it looks like :4222 or HOST:4222",
		"--dir OTHER --replicas 3":           "only for servers of others",
	} {
		other := filepath.Join(t.TempDir(), "other")
		args := strings.Fields(strings.NewReplacer("DIR", dir, "OTHER", other).Replace(line))
		var out, errs bytes.Buffer
		if err := run(args, &out, &errs); err == nil || !strings.Contains(strings.ReplaceAll(err.Error(), dir, "DIR"), says) {
			t.Errorf("%q: %v, want an error that says %q", line, err, says)
		}
		if out.Len() > 0 {
			t.Errorf("%q prints %s", line, &out)
		}
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the directory was made: %v", err)
	}
}

// The clients in text and in JSON; a directory that was not there is said; and flags may
// stand behind a name.
func TestClients(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "hub")
	ask := func(args ...string) (string, string) {
		t.Helper()
		var out, errs bytes.Buffer
		if err := run(args, &out, &errs); err != nil {
			t.Fatalf("%q: %v", args, err)
		}
		return out.String(), errs.String()
	}
	if token, said := ask("enroll", "--dir", dir, "--name", "alice", "--role", "loader"); !strings.HasPrefix(token, "taskwatch-token-1.") || !strings.Contains(said, "was not there") {
		t.Errorf("the first token is %q, and it says %q", token, said)
	}
	if _, said := ask("enroll", "--dir", dir); said != "" {
		t.Errorf("the second token says %q", said)
	}
	if got, _ := ask("revoke", "alice", "--dir", dir); got != "alice: revoked\n" {
		t.Errorf("revoke prints %q", got)
	}
	text, _ := ask("clients", "--dir", dir)
	if lines := strings.Split(strings.TrimSpace(text), "\n"); len(lines) != 3 || !strings.Contains(lines[1], "alice") || !strings.Contains(lines[1], "revoked") || !strings.Contains(lines[2], "not used") {
		t.Errorf("the clients are\n%s", text)
	}
	text, _ = ask("clients", "--dir", dir, "--format", "json")
	var all []listed
	if err := json.Unmarshal([]byte(text), &all); err != nil || len(all) != 2 || all[0].Name != "alice" || all[0].State != "revoked" || all[0].Revoked == nil || all[1].Role != "node" {
		t.Errorf("in JSON, %v:\n%s", err, text)
	}
	if strings.Contains(text, "hash") || strings.Contains(text, "secret") {
		t.Errorf("JSON has what nobody needs:\n%s", text)
	}
	for _, args := range [][]string{{"help"}, {"--help"}, {"enroll", "-h"}} {
		if got, _ := ask(args...); got != usage {
			t.Errorf("%q prints %q", args, got)
		}
	}
}
