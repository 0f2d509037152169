package fleet

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/taskwatch/taskwatch/internal/outfile"
)

// Identity is who a client is to its hub, kept in a directory. The private key
// in it is made by the client, and leaves it never.
type Identity struct {
	URL   string `json:"url"`
	Token *Token `json:"token"`
	Seed  string `json:"seed"` // of the key

	dir string
	key nkeys.KeyPair
	pub string

	mu      sync.Mutex // guards the fields below
	before  []byte     // what the file had, where it was changed, or nil
	renewed bool       // there is another token
	undone  bool       // the file has what it had before
}

const identityFile = "identity.json"

// ErrNoToken says that a client has no key, and no token to enroll one with.
var ErrNoToken = errors.New("there is no token yet")

// OpenIdentity returns the identity that is kept in dir, or makes one for a
// token. hub is the address of the hub, and tokenFile the file of a token; each
// may be "" if dir has it already; the error matches [ErrNoToken] where the file is
// needed and is not there. A token other than the one that dir has makes a
// new key, because a token is for one key.
func OpenIdentity(dir, hub, tokenFile string) (*Identity, error) {
	id := &Identity{dir: dir}
	b, err := os.ReadFile(filepath.Join(dir, identityFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("hub: %w", err)
	default:
		if err := json.Unmarshal(b, id); err != nil || id.Token == nil || id.Seed == "" {
			return nil, fmt.Errorf("hub: %s is damaged; remove it and enroll with a new token", filepath.Join(dir, identityFile))
		}
	}
	changed := false
	if tokenFile != "" {
		t, err := ReadToken(tokenFile)
		switch {
		case err != nil && id.Token != nil && errors.Is(err, fs.ErrNotExist): // it was used, and removed
		case errors.Is(err, fs.ErrNotExist):
			return nil, fmt.Errorf("hub: %w: %w", ErrNoToken, err)
		case err != nil:
			return nil, fmt.Errorf("hub: %w", err)
		case id.Token == nil || id.Token.ID != t.ID:
			if err := id.renew(t); err != nil {
				return nil, err
			}
			changed, id.renewed = true, true
		}
	}
	if id.Token == nil {
		return nil, fmt.Errorf("hub: %s has no key yet; give the token that 'taskwatch-hub enroll' has printed, with --hub-token FILE", dir)
	}
	if hub != "" && hub != id.URL {
		if err := checkURL(hub); err != nil {
			return nil, err
		}
		id.URL, changed = hub, true
	}
	if id.URL == "" {
		return nil, errors.New("hub: no address; give it with --hub tls://HOST:4222")
	}
	if id.key, err = nkeys.FromSeed([]byte(id.Seed)); err == nil {
		id.pub, err = id.key.PublicKey()
	}
	if err != nil {
		return nil, fmt.Errorf("hub: the key in %s: %w", dir, err)
	}
	if changed {
		id.before = b
		return id, id.save()
	}
	return id, nil
}

// undo restores the identity that was there before, where the new one is of no use: its
// token was rejected, or its address is wrong. The key of a token that may have been
// accepted stays.
func (id *Identity) undo(rejected bool) error {
	id.mu.Lock()
	defer id.mu.Unlock()
	if len(id.before) == 0 || id.undone || id.renewed && !rejected {
		return nil
	}
	id.undone = true
	return SaveFile(filepath.Join(id.dir, identityFile), id.before)
}

// answered is called with what becomes of a connection. A client that goes on trying has
// the identity that was there before on its disk while its new token is rejected: one
// that is started again without that token is what it was.
func (id *Identity) answered(err error, goesOn bool) error {
	switch {
	case err == nil:
		return id.accepted()
	case goesOn && errors.Is(err, nats.ErrAuthorization):
		return id.undo(true)
	}
	return nil
}

// accepted keeps the identity: the hub has let it in.
func (id *Identity) accepted() error {
	id.mu.Lock()
	defer id.mu.Unlock()
	id.before = nil
	if !id.undone {
		return nil
	}
	id.undone = false
	return id.save()
}

// checkURL returns an error unless text is the address of a hub. All others
// would send the token in the clear.
func checkURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "tls" || u.Host == "" || u.User != nil || u.Path != "" {
		return fmt.Errorf("hub: %q is not the address of a hub; it looks like tls://HOST:4222", text)
	}
	return nil
}

func (id *Identity) renew(t *Token) error {
	key, err := nkeys.CreateUser()
	if err != nil {
		return fmt.Errorf("hub: make a key: %w", err)
	}
	seed, err := key.Seed()
	if err != nil {
		return fmt.Errorf("hub: make a key: %w", err)
	}
	id.Token, id.Seed = t, string(seed)
	return nil
}

func (id *Identity) save() error {
	b, err := json.MarshalIndent(id, "", "\t")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(id.dir, 0o700); err != nil {
		return fmt.Errorf("hub: %w", err)
	}
	return SaveFile(filepath.Join(id.dir, identityFile), append(b, '\n'))
}

// IsKey reports whether a text can be the public key of a client.
func IsKey(text string) bool { return nkeys.IsValidPublicUserKey(text) }

// Key returns the public key, which names the client.
func (id *Identity) Key() string { return id.pub }

// Dir returns the directory.
func (id *Identity) Dir() string { return id.dir }

// SaveFile writes a file that only its owner may read, as a whole. When it
// returns, the file is on the disk.
func SaveFile(name string, b []byte) error {
	doc, err := outfile.Create(name)
	if err != nil {
		return err
	}
	err = doc.Chmod(0o600)
	if err == nil {
		_, err = doc.Write(b)
	}
	if err == nil {
		err = doc.Sync()
	}
	if err != nil {
		return errors.Join(err, doc.Abort())
	}
	if err := doc.Commit(); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}
