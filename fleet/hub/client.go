package hub

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/taskwatch/taskwatch/fleet"
)

// Client is a client that was enrolled: first a token, then the key that has
// used it.
type Client struct {
	ID      string     `json:"id"` // of the token
	Role    fleet.Role `json:"role"`
	Name    string     `json:"name,omitempty"` // as the hub's owner calls it
	Hash    string     `json:"hash"`           // of the token's secret
	Made    time.Time  `json:"made"`
	Expires time.Time  `json:"expires"` // the token, while it is not used

	Key   string     `json:"key,omitempty"`
	Used  *time.Time `json:"used,omitempty"`
	Addr  string     `json:"addr,omitempty"` // that the key was bound from
	Gone  *time.Time `json:"revoked,omitempty"`
	Abuse int        `json:"refused,omitempty"` // tries of other keys with the token
}

// String returns the name of a client for people.
func (c *Client) String() string {
	if c.Name != "" {
		return c.Name
	}
	if c.Key != "" {
		return c.Key
	}
	return c.ID
}

// clients are the tokens and the clients of a hub, a file for each. Its methods
// may be called from any goroutine.
type clients struct {
	dir string

	mu         sync.Mutex // guards the fields below, and the files of clients that are not being bound
	byKey      map[string]*Client
	binding    map[string]string     // the keys that tokens are being bound to, without the lock: a disk takes its time
	rejections map[string]*rejection // by token, since that was said last
}

// rejection is that connections of a client, or with its token, were not let in.
type rejection struct {
	client *Client
	said   time.Time
	count  int    // since it was said
	others int    // of other keys, that its file does not count yet
	last   string // what is to be said of the last one
}

// clientsDir is where they are in the directory of a hub.
const clientsDir = "clients"

// openClients returns those of a directory, and makes the directory.
func openClients(dir string) (*clients, error) {
	cs := &clients{dir: filepath.Join(dir, clientsDir), byKey: map[string]*Client{}, binding: map[string]string{}, rejections: map[string]*rejection{}}
	return cs, os.MkdirAll(cs.dir, 0o700)
}

// load reads who has which key, for admit.
func (cs *clients) load() error {
	list, err := cs.list()
	for _, c := range list {
		if c.Key != "" {
			cs.byKey[c.Key] = c
		}
	}
	return err
}

func (cs *clients) path(id string) string { return filepath.Join(cs.dir, id+".json") }

// revokedPath is the file that says that a client is revoked. It is apart from
// the client's own, which the hub may write at the same time.
func (cs *clients) revokedPath(id string) string { return filepath.Join(cs.dir, id+".revoked") }

// read returns the client of a token, or nil.
func (cs *clients) read(id string) (*Client, error) {
	if b, err := hex.DecodeString(id); err != nil || len(b) != tokenBytes {
		return nil, nil
	}
	b, err := os.ReadFile(cs.path(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var c Client
	if err := json.Unmarshal(b, &c); err != nil || c.ID != id {
		return nil, fmt.Errorf("%s is damaged", cs.path(id))
	}
	if st, err := os.Stat(cs.revokedPath(id)); err == nil {
		when := st.ModTime()
		c.Gone = &when
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return &c, nil
}

func (cs *clients) save(c *Client) error {
	b, err := json.MarshalIndent(c, "", "\t")
	if err != nil {
		return err
	}
	return fleet.SaveFile(cs.path(c.ID), append(b, '\n'))
}

func (cs *clients) list() (list []*Client, err error) {
	files, err := os.ReadDir(cs.dir)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		id, ok := strings.CutSuffix(f.Name(), ".json")
		if !ok || strings.HasPrefix(id, ".") {
			continue
		}
		c, err := cs.read(id)
		if err != nil {
			return nil, err
		}
		if c != nil {
			list = append(list, c)
		}
	}
	slices.SortFunc(list, func(a, b *Client) int { return a.Made.Compare(b.Made) })
	return list, nil
}

const tokenBytes = 8

func hash(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // it never fails
	return hex.EncodeToString(b)
}

// enroll makes a token.
func (cs *clients) enroll(ca []byte, role fleet.Role, name string, life time.Duration) (*fleet.Token, error) {
	t := &fleet.Token{ID: randomHex(tokenBytes), Secret: randomHex(16), CA: ca}
	now := time.Now().UTC()
	return t, cs.save(&Client{ID: t.ID, Role: role, Name: name, Hash: hash(t.Secret), Made: now, Expires: now.Add(life)})
}

// revoke takes the rights of a client away, by its key, its name or its token.
func (cs *clients) revoke(which string) (*Client, error) {
	list, err := cs.list()
	if err != nil {
		return nil, err
	}
	var found []*Client
	for _, c := range list {
		if c.Gone == nil && (c.ID == which || c.Key == which || c.Name == which) {
			found = append(found, c)
		}
	}
	switch len(found) {
	case 0:
		return nil, fmt.Errorf("no client is called %q; 'taskwatch-hub clients' lists all", which)
	case 1:
		return found[0], fleet.SaveFile(cs.revokedPath(found[0].ID), nil)
	}
	return nil, fmt.Errorf("%d clients are called %q; give the key of one", len(found), which)
}

// Why a client is not let in.
var (
	errUnknown = errors.New("the key is unknown, and there is no token")
	errToken   = errors.New("there is no such token")
	errUsed    = errors.New("the token was used by another key")
	errExpired = errors.New("the token has expired")
	errRevoked = errors.New("the client is revoked")
	errBusy    = errors.New("its key is being bound to its token; it may try again")
)

// admit returns the client that has a key. One that is not known has to bring a
// token, which is bound to the key from then on. The client is returned with an
// error, too, where it is known whose token it is.
func (cs *clients) admit(key, credential, addr string) (c *Client, bound bool, err error) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if c := cs.byKey[key]; c != nil {
		if c.Gone != nil {
			return c, false, errRevoked
		}
		return c, false, nil
	}
	id, secret, ok := fleet.ParseCredential(credential)
	if !ok {
		return nil, false, errUnknown
	}
	if c, err = cs.read(id); err != nil {
		return nil, false, err
	}
	if c == nil || subtle.ConstantTimeCompare([]byte(c.Hash), []byte(hash(secret))) != 1 {
		return nil, false, errToken
	}
	switch {
	case cs.binding[id] == key: // its connection was lost meanwhile
		return c, false, errBusy
	case cs.binding[id] != "":
		return c, false, errUsed
	case c.Key != "":
		return c, false, errUsed
	case c.Gone != nil:
		return c, false, errRevoked
	case time.Now().After(c.Expires):
		return c, false, errExpired
	}
	now := time.Now().UTC()
	c.Key, c.Used, c.Addr = key, &now, addr
	cs.binding[id] = key
	cs.mu.Unlock()
	err = cs.save(c)
	cs.mu.Lock()
	delete(cs.binding, id)
	if err != nil {
		return c, false, err
	}
	cs.byKey[key] = c
	return c, true, nil
}

// rejected takes note that a connection was not let in, and of what is to be said of it,
// and reports whether that is to be said now. It is, of the first; the others are counted:
// see rejectedSince. Nobody who has a token that was used writes to the disk, or into the
// audit trail, as often as it connects.
func (cs *clients) rejected(c *Client, why error, what string) (say bool) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	r := cs.rejections[c.ID]
	if r == nil {
		r, say = &rejection{client: c, said: time.Now()}, true
		cs.rejections[c.ID] = r
	} else {
		r.count++
	}
	r.last = what
	if errors.Is(why, errUsed) {
		r.others++
	}
	if say {
		cs.countOthers(r)
	}
	return say
}

// countOthers notes in the file of a client how many other keys have shown its token. What
// cannot be noted is tried again with the next. Callers hold mu.
func (cs *clients) countOthers(r *rejection) {
	if r.others == 0 || cs.binding[r.client.ID] != "" {
		return
	}
	c, err := cs.read(r.client.ID)
	if err != nil || c == nil {
		return
	}
	if c.Abuse += r.others; cs.save(c) == nil {
		r.others = 0
	}
}

// rejectedSince returns what is to be said at a time of connections that were not let in
// since the first of them was said, and forgets it.
func (cs *clients) rejectedSince(now time.Time) (list []rejection) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for id, r := range cs.rejections {
		if now.Sub(r.said) < sayEvery {
			continue
		}
		cs.countOthers(r)
		if r.count == 0 {
			delete(cs.rejections, id)
			continue
		}
		list = append(list, *r)
		r.said, r.count = now, 0
	}
	return list
}

// byTheKey returns the client that has a key and is not revoked, or nil.
func (cs *clients) byTheKey(key string) *Client {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if c := cs.byKey[key]; c != nil && c.Gone == nil {
		return c
	}
	return nil
}

// forget marks those revoked that have become it, and returns them.
func (cs *clients) forget() (gone []*Client, err error) {
	files, err := filepath.Glob(filepath.Join(cs.dir, "*.revoked"))
	if err != nil {
		return nil, err
	}
	now := time.Now()
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for key, c := range cs.byKey {
		if c.Gone == nil && slices.Contains(files, cs.revokedPath(c.ID)) {
			revoked := *c
			revoked.Gone = &now
			cs.byKey[key] = &revoked
			gone = append(gone, &revoked)
		}
	}
	return gone, nil
}
