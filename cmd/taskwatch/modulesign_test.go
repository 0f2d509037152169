package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"aead.dev/minisign"
	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/testutil"
	stock "github.com/taskwatch/taskwatch/modules"
)

// keyPair writes a pair of keys, and returns their files and the key's id.
func keyPair(t testing.TB, dir, name string) (public, private, id string) {
	t.Helper()
	pub, priv, err := minisign.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := pub.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	secret, err := priv.MarshalText() // to encrypt it takes 1 GiB of memory
	if err != nil {
		t.Fatal(err)
	}
	public, private = filepath.Join(dir, name+".pub"), filepath.Join(dir, name+".key")
	if err := os.WriteFile(public, append(text, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(private, append(secret, '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
	return public, private, fmt.Sprintf("%016X", pub.ID())
}

// A module that was signed is taken where its key is trusted; one that was not,
// that was altered, renamed or signed by somebody else is rejected in one line,
// before anything of it is run.
func TestSignedModules(t *testing.T) {
	needsClang(t)
	t.Parallel()
	_, good := buildBoth(t, "count", countModule)
	dir := filepath.Dir(good)
	public, private, id := keyPair(t, dir, "team")
	other, otherKey, _ := keyPair(t, dir, "other")
	signed := func(key, file string) {
		t.Helper()
		r := tw(t, "module", "sign", "--key", key, file)
		if r.status != 0 || !strings.Contains(r.stdout, file+".minisig: signed by ") || r.stderr != "" {
			t.Fatalf("module sign: %+v", r)
		}
	}
	place := func(name string, b []byte, signature []byte) string {
		t.Helper()
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, b, 0o644); err != nil {
			t.Fatal(err)
		}
		if signature != nil {
			if err := os.WriteFile(file+".minisig", signature, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		return file
	}
	signed(private, good)
	b, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	signature, err := os.ReadFile(good + ".minisig")
	if err != nil {
		t.Fatal(err)
	}
	if r := tw(t, "module", "verify", "--trust", public, "--trust", other, good); r.status != 0 || !strings.Contains(r.stdout, "module count, signed by "+id) {
		t.Errorf("module verify: %+v", r)
	}
	if r := tw(t, "run", "--trust", public, "--require-signature", "-m", good, "-o", "/dev/null", "--", "true"); r.status != 0 {
		t.Errorf("run: %+v", r)
	}
	ours := place("mine.o", stock.Find("twbench").Object(), nil)
	if r := tw(t, "module", "verify", "--trust", public, ours); r.status != 0 || !strings.HasSuffix(r.stdout, ": module mine, a stock module of this taskwatch\n") {
		t.Errorf("module verify of a stock module's file: %+v", r)
	}
	foreign := place("count.wasm", b, nil)
	signed(otherKey, foreign)
	altered := bytes.Replace(b, []byte("counts execs"), []byte("counts EXECS"), 1)
	if bytes.Equal(altered, b) {
		t.Fatal("nothing was altered")
	}
	for _, c := range []struct{ what, file, says string }{
		{"unsigned", place("count.wasm", b, nil), "it is not signed"},
		{"altered", place("count.wasm", altered, signature), "not the one that was signed"},
		{"renamed", place("other.wasm", b, signature), `it is the signature of the module "count", not of "other"`},
		{"foreign", foreign, "is not trusted"},
		{"garbage", place("count.wasm", b, []byte("nonsense")), "not a signature of minisign"},
		{"no module at all", place("count.wasm", []byte("x"), nil), "it is not signed"},
	} {
		for _, args := range [][]string{
			{"module", "verify", "--trust", public, c.file},
			{"run", "--trust", public, "-m", c.file, "-o", "/dev/null", "--", "true"},
			{"watch", "--trust", public, "-m", c.file},
		} {
			r := tw(t, args...)
			if r.status == 0 || !strings.Contains(r.stderr, c.says) || strings.Count(r.stderr, "\n") != 1 {
				t.Errorf("%s, %s: %+v", c.what, args[0], r)
			}
		}
	}
	for _, command := range [][]string{{"run", "--require-signature", "-m", good, "--", "true"}, {"watch", "--require-signature", "-m", good}, {"serve", "--require-signature", "--socket", filepath.Join(dir, "s")}} {
		if r := tw(t, command...); r.status == 0 || !strings.Contains(r.stderr, "no key is trusted") {
			t.Errorf("%q without a key: %+v", command, r)
		}
	}
	if r := tw(t, "module", "sign", "--key", public, good); r.status == 0 || strings.Count(r.stderr, "\n") != 1 {
		t.Errorf("signing with a public key: %+v", r)
	}
}

// The daemon loads what is signed by a key of its configuration, which SIGHUP
// has it read again, and says who has signed what.
func TestServeTrusts(t *testing.T) {
	testutil.Root(t)
	needsClang(t)
	object, wasm := buildBoth(t, "count", countModule)
	dir := t.TempDir()
	public, private, id := keyPair(t, dir, "team")
	other, _, _ := keyPair(t, dir, "other")
	if r := tw(t, "module", "sign", "-k", private, wasm); r.status != 0 {
		t.Fatal(r)
	}
	config := filepath.Join(dir, "taskwatch.toml")
	write := func(key, module string) {
		t.Helper()
		text := fmt.Sprintf("[trust]\nkeys = [%q]\n[[module]]\nfile = %q\n", key, module)
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("team.pub", object) // relative to the file; and not signed
	s := startServe(t, filepath.Join(dir, "s"), nil, "--config", config)
	eventually(t, "the unsigned module is rejected", func() bool {
		return strings.Contains(s.log.String(), "it is not signed, and this daemon wants it to be")
	})
	if r := s.tw(t, "insmod", object); r.status != 1 || !strings.Contains(r.stderr, "it is not signed") {
		t.Errorf("insmod of what is not signed: %+v", r)
	}
	s.must(t, "insmod", wasm)
	if head, _, _ := strings.Cut(s.must(t, "lsmod"), "\n"); !strings.Contains(head, "SIGNER") {
		t.Errorf("lsmod: %q", head)
	}
	if out := s.must(t, "lsmod", "-f", "json"); !strings.Contains(out, fmt.Sprintf(`"signer": %q`, id)) {
		t.Errorf("lsmod: %s", out)
	}
	if out := s.must(t, "modinfo", "count"); !strings.Contains(out, id) {
		t.Errorf("modinfo: %s", out)
	}
	if !strings.Contains(s.log.String(), "signer="+id) {
		t.Error("the log does not say who has signed it")
	}
	s.must(t, "rmmod", "count")
	s.must(t, "insmod", "--name", "counter", "acct") // a stock module is a part of the daemon
	s.must(t, "rmmod", "counter")

	hup := func(says string) {
		t.Helper()
		if err := s.cmd.Process.Signal(unix.SIGHUP); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the log says "+says, func() bool { return strings.Contains(s.log.String(), says) })
	}
	if err := os.Chmod(other, 0o666); err != nil {
		t.Fatal(err)
	}
	write(other, wasm)
	hup("0666")
	s.must(t, "insmod", wasm) // by the key of before
	if err := os.Chmod(other, 0o644); err != nil {
		t.Fatal(err)
	}
	write(public, wasm)
	if err := os.Remove(wasm + ".minisig"); err != nil {
		t.Fatal(err)
	}
	s.must(t, "rmmod", "count")
	hup("SIGHUP: not all modules are as the configuration wants them")
	write(other, wasm)
	if r := tw(t, "module", "sign", "-k", private, wasm); r.status != 0 {
		t.Fatal(r)
	}
	hup("is not trusted")
	s.stop(t)
}
