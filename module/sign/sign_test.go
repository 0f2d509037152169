package sign

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"aead.dev/minisign"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

func TestMain(m *testing.M) { testutil.Main(m) }

func pair(t *testing.T, dir string) (minisign.PrivateKey, string) {
	t.Helper()
	public, private, err := minisign.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := public.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, fmt.Sprintf("%016x.pub", public.ID()))
	if err := os.WriteFile(file, append(text, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
	return private, file
}

func TestVerify(t *testing.T) {
	dir := t.TempDir()
	private, public := pair(t, dir)
	stranger, _ := pair(t, dir)
	keys, err := ReadKeys(public)
	if err != nil {
		t.Fatal(err)
	}
	file := []byte("\x00asm module")
	good := Sign(private, file, "guard", "1.2")
	verify := func(file, signature []byte, name, version string) (string, error) {
		signer, err := keys.Verify(file, signature, name)
		if err == nil {
			err = signer.CheckVersion(version)
		}
		if err != nil {
			return "", err
		}
		return signer.ID, nil
	}
	if signer, err := verify(file, good, "guard", "1.2"); err != nil || len(signer) != 16 || !keys.Has(signer) {
		t.Errorf("%q, %v", signer, err)
	}
	for what, c := range map[string]struct {
		file, signature []byte
		name, version   string
		kind            error
		says            string
	}{
		"no signature":         {file, nil, "guard", "1.2", ErrUnsigned, "not signed"},
		"garbage":              {file, []byte("x"), "guard", "1.2", ErrUntrusted, "not a signature of minisign"},
		"a long one":           {file, bytes.Repeat([]byte("x"), maxSignature+1), "guard", "1.2", ErrUntrusted, "bytes"},
		"an altered file":      {[]byte("\x00asm other"), good, "guard", "1.2", ErrUntrusted, "not the one that was signed"},
		"another name":         {file, good, "other", "1.2", ErrUntrusted, "not of"},
		"another version":      {file, good, "guard", "1.3", ErrUntrusted, "not of"},
		"another key":          {file, Sign(stranger, file, "guard", "1.2"), "guard", "1.2", ErrUntrusted, "is not trusted"},
		"a comment of its own": {file, minisign.SignWithComments(private, file, "release 7", ""), "guard", "1.2", ErrUntrusted, "not the signature of a module"},
		"a comment of another": {file, bytes.Replace(good, []byte("guard"), []byte("other"), 1), "other", "1.2", ErrUntrusted,
			"not the one that was signed"},
	} {
		signer, err := verify(c.file, c.signature, c.name, c.version)
		if !errors.Is(err, c.kind) || signer != "" || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %q, %v", what, signer, err)
		}
	}
}

// Keys that others could have changed are rejected.
func TestKeysOfOthers(t *testing.T) {
	_, public := pair(t, t.TempDir())
	if err := os.Chmod(public, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadKeys(public); err == nil || !strings.Contains(err.Error(), "mode 0666") {
		t.Errorf("got %v", err)
	}
	if _, err := ReadKeys(filepath.Dir(public)); err == nil || !strings.Contains(err.Error(), "not a regular file with a key") {
		t.Errorf("got %v", err)
	}
}

// Somebody who gives the public key for the private one is told so, and not to hide it.
func TestPublicKeyForPrivate(t *testing.T) {
	_, public := pair(t, t.TempDir())
	for _, mode := range []os.FileMode{0o600, 0o644} {
		if err := os.Chmod(public, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadPrivateKey(public, ""); err == nil || !strings.Contains(err.Error(), "it is a public key") {
			t.Errorf("mode %v: %v", mode, err)
		}
		if _, err := IsEncrypted(public); err == nil || !strings.Contains(err.Error(), "it is a public key") {
			t.Errorf("mode %v: whether it is encrypted: %v", mode, err)
		}
	}
}

// A private key has no place among those that are trusted.
func TestPrivateKeyForPublic(t *testing.T) {
	private, _ := pair(t, t.TempDir())
	plain, err := private.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	// By minisign.EncryptKey, whose derivation of a key from a password takes seconds.
	encrypted := []byte("untrusted comment: minisign encrypted secret key\nRWRTY0Iy6dnuIHU11DdIMcVSmemdNlb++RvbWwFC6SXn7nW/tjEAAAACAAAAAAAAAEAAAAAA4KJdjkfsLZcp0934432jD7BDLbjaDTR7PixdwXTlF7Ra2mzhC/cprpCzn6fUk9brndvurCjvJb2rcaStSgyCC4HIvrGRobnDnArgbTYVMaKYvitSEVdmigkwkMiEbRKYZDPYOLsCI5U=")
	for name, text := range map[string][]byte{"plain": plain, "encrypted": encrypted} {
		file := filepath.Join(t.TempDir(), "team.key")
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadKeys(file); err == nil || !strings.Contains(err.Error(), "it is a private key") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Debian's minisign reads what is signed here, and what it signs is read here.
func TestMinisign(t *testing.T) {
	testutil.Require(t, testutil.NeedsTool("minisign"))
	dir := t.TempDir()
	run := func(args ...string) {
		t.Helper()
		cmd := exec.Command("minisign", args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("minisign %q: %v\n%s", args, err, out)
		}
	}
	file := []byte("\x00asm module")
	module := filepath.Join(dir, "guard.wasm")
	private, public := pair(t, dir)
	if err := errors.Join(os.WriteFile(module, file, 0o600), os.WriteFile(module+Suffix, Sign(private, file, "guard", "1"), 0o600)); err != nil {
		t.Fatal(err)
	}
	run("-Vm", module, "-p", public)

	run("-G", "-W", "-p", "tool.pub", "-s", "tool.key")
	run("-Sm", module, "-s", "tool.key", "-t", comment("guard", "1"))
	signature, err := os.ReadFile(module + Suffix)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := ReadKeys(filepath.Join(dir, "tool.pub"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keys.Verify(file, signature, "guard"); err != nil {
		t.Error(err)
	}
	key, err := ReadPrivateKey(filepath.Join(dir, "tool.key"), "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keys.Verify(file, Sign(key, file, "guard", "2"), "guard"); err != nil {
		t.Errorf("with the tool's key: %v", err)
	}
}
