// Package sign signs module files and verifies their signatures: Ed25519, in
// the format of minisign, so the tool minisign can be used instead. The
// signature is in FILE.minisig. Its trusted comment, which is signed too,
// contains the name and the version of the module.
package sign

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"

	"aead.dev/minisign"
)

// Suffix is what the name of a signature's file has behind that of the file.
const Suffix = ".minisig"

const (
	maxSignature = 4 << 10 // bytes of a file
	maxKey       = 4 << 10
)

// Errors to be found with errors.Is.
var (
	// ErrUnsigned says that there is no signature.
	ErrUnsigned = errors.New("it is not signed")

	// ErrUntrusted says that a signature was made with a key that is not
	// trusted, or for another file, name or version.
	ErrUntrusted = errors.New("its signature cannot be trusted")
)

// format is that of a module's trusted comment.
const format = "taskwatch module %q version %q"

func comment(name, version string) string { return fmt.Sprintf(format, name, version) }

// Sign returns the signature of a module's file. version may be "".
func Sign(key minisign.PrivateKey, file []byte, name, version string) []byte {
	return SignAs(key, file, comment(name, version), "a taskwatch module")
}

// SignAs returns the signature of data as what the comment says, which is
// signed too. It says of itself that it is the signature of a thing.
func SignAs(key minisign.PrivateKey, data []byte, comment, thing string) []byte {
	return minisign.SignWithComments(key, data, comment, "signature of "+thing)
}

// Keys are the public keys that are trusted, by the files that they came
// from. They do not change.
type Keys struct {
	keys []minisign.PublicKey
}

// ReadKeys reads files of public keys. Each has to belong to root or to the
// effective user, and to be writable by nobody else.
func ReadKeys(files ...string) (*Keys, error) {
	k := &Keys{}
	for _, file := range files {
		b, err := readOwn(file, 0o022, "be written to")
		if err != nil {
			return nil, fmt.Errorf("key %s: %w", file, err)
		}
		var key minisign.PublicKey
		if err := key.UnmarshalText(b); err != nil {
			if isPrivate(b) {
				return nil, fmt.Errorf("key %s: it is a private key, which stays where modules are signed; give the public one, which 'minisign -G' has written as well: minisign.pub, or what its -p said", file)
			}
			return nil, fmt.Errorf("key %s: it is not a public key of minisign: %w", file, err)
		}
		k.keys = append(k.keys, key)
	}
	return k, nil
}

// isPrivate reports whether the text of a file is that of a private key.
func isPrivate(b []byte) bool {
	var key minisign.PrivateKey
	return minisign.IsEncrypted(b) || key.UnmarshalText(b) == nil
}

// KeysOf returns the keys that are given.
func KeysOf(keys ...minisign.PublicKey) *Keys { return &Keys{keys: keys} }

// ReadPrivateKey reads the file of a private key, which others may not read.
// The password is needed for one that is encrypted.
func ReadPrivateKey(file, password string) (key minisign.PrivateKey, err error) {
	b, err := readPrivate(file)
	switch {
	case err != nil:
	case minisign.IsEncrypted(b):
		key, err = minisign.DecryptKey(password, b)
	default:
		err = key.UnmarshalText(b)
	}
	if err != nil {
		return key, fmt.Errorf("key %s: %w", file, err)
	}
	return key, nil
}

// readPrivate reads the file of a private key.
func readPrivate(file string) ([]byte, error) {
	if b, err := readOwn(file, 0, ""); err == nil {
		var key minisign.PublicKey
		if key.UnmarshalText(b) == nil {
			return nil, errors.New("it is a public key; give the private one, which 'minisign -G' has written as well: minisign.key, or what its -s said")
		}
	}
	return readOwn(file, 0o077, "be reached")
}

// readOwn reads a file that others may not change, or see.
func readOwn(file string, forbidden os.FileMode, what string) ([]byte, error) {
	f, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	owner := int(info.Sys().(*syscall.Stat_t).Uid)
	switch {
	case !info.Mode().IsRegular() || info.Size() > maxKey:
		return nil, errors.New("it is not a regular file with a key")
	case owner != 0 && owner != os.Geteuid():
		return nil, fmt.Errorf("it belongs to user %d; it must belong to root or to user %d", owner, os.Geteuid())
	case info.Mode().Perm()&forbidden != 0:
		return nil, fmt.Errorf("it has the mode %#o, but may not %s by others: chmod go-rwx", info.Mode().Perm(), what)
	}
	b := make([]byte, info.Size())
	n, err := f.Read(b)
	return b[:n], err
}

// Signer is the one of a file's signature.
type Signer struct {
	ID      string // of the key
	version string // of the module, as it was signed
}

// Verify returns the signer of a file under the name of a module. It reads only
// the file's bytes and runs nothing of it, so call it first. Then check the
// version that the file claims with [Signer.CheckVersion]. signature is nil if
// there is none.
func (k *Keys) Verify(file, signature []byte, name string) (*Signer, error) {
	id, text, err := k.VerifyAs(file, signature)
	if err != nil {
		return nil, err
	}
	var signed, version string
	if _, err := fmt.Sscanf(text, format, &signed, &version); err != nil || comment(signed, version) != text {
		return nil, fmt.Errorf("%w: it is not the signature of a module, but of %.100q", ErrUntrusted, text)
	}
	if signed != name {
		return nil, fmt.Errorf("%w: it is the signature of the module %.40q, not of %q", ErrUntrusted, signed, name)
	}
	return &Signer{ID: id, version: version}, nil
}

// VerifyAs returns the id of the key that has signed data, and the comment that
// it was signed with: the caller has to check that the comment is of the kind of
// data that it expects.
func (k *Keys) VerifyAs(data, signature []byte) (id, comment string, err error) {
	if signature == nil {
		return "", "", ErrUnsigned
	}
	var s minisign.Signature
	if len(signature) > maxSignature {
		return "", "", fmt.Errorf("%w: it has more than %d bytes", ErrUntrusted, maxSignature)
	}
	if err := s.UnmarshalText(signature); err != nil {
		return "", "", fmt.Errorf("%w: it is not a signature of minisign: %w", ErrUntrusted, err)
	}
	id = fmt.Sprintf("%016X", s.KeyID)
	for _, key := range k.keys {
		if key.ID() != s.KeyID {
			continue
		}
		if !minisign.Verify(key, data, signature) {
			return "", "", fmt.Errorf("%w: the file is not the one that was signed with the key %s", ErrUntrusted, id)
		}
		return id, strings.TrimSpace(s.TrustedComment), nil
	}
	return "", "", fmt.Errorf("%w: the key %s is not trusted", ErrUntrusted, id)
}

// CheckVersion returns an error unless the version that a module says it has
// is the one that was signed. A nil Signer has signed nothing.
func (s *Signer) CheckVersion(version string) error {
	if s != nil && s.version != version {
		return fmt.Errorf("%w: it is the signature of version %.40q, not of %.40q", ErrUntrusted, s.version, version)
	}
	return nil
}

// Has reports whether the key of that id is among the keys.
func (k *Keys) Has(id string) bool {
	return slices.ContainsFunc(k.keys, func(key minisign.PublicKey) bool { return fmt.Sprintf("%016X", key.ID()) == id })
}

// IsEncrypted reports whether the file of a private key needs a password.
func IsEncrypted(file string) (bool, error) {
	b, err := readPrivate(file)
	if err != nil {
		return false, fmt.Errorf("key %s: %w", file, err)
	}
	return minisign.IsEncrypted(b), nil
}

// ReadSignature reads the signature beside a file, and returns nil where there
// is none.
func ReadSignature(file string) ([]byte, error) {
	f, err := os.OpenFile(file+Suffix, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", file+Suffix)
	}
	return io.ReadAll(io.LimitReader(f, maxSignature+1))
}
