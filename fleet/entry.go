package fleet

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"aead.dev/minisign"

	"github.com/taskwatch/taskwatch/module"
	"github.com/taskwatch/taskwatch/module/sign"
)

// Entry says what is to become of one module. It is signed as a whole, and a
// later entry of the same module, with a higher generation, takes its place.
type Entry struct {
	Module     string `json:"module"`
	Generation uint64 `json:"generation"`

	// Absent wants the module unloaded; of what follows, only Expires counts then.
	Absent bool `json:"absent,omitempty"`

	Digest string            `json:"digest,omitempty"` // of the file: see Digest
	Params map[string]string `json:"params,omitempty"`

	// Registry is where nodes get the file from, by its digest: a repository of a
	// registry of containers, as https://HOST/NAME, or http://. "" stands for the hub.
	Registry string `json:"registry,omitempty"`

	// Signature is that of the file, for nodes that want it signed.
	Signature string `json:"signature,omitempty"`

	AllowObserveOnly bool `json:"allow_observe_only,omitempty"`
	AllowBestEffort  bool `json:"allow_best_effort,omitempty"`

	// Select is an expression over the facts of a node; "" selects all. Other
	// nodes do not run the module.
	Select string `json:"select,omitempty"`

	// Through is the last place in a rollout, or "". Nodes whose Place is behind it
	// leave the module as it is.
	Through string `json:"through,omitempty"`

	// Expires is when the entry is no longer accepted. What runs goes on.
	Expires time.Time `json:"expires"`

	// Lease unloads the module when no later entry has come for that long; 0 never
	// does.
	Lease time.Duration `json:"lease_ns,omitempty"`
}

// MaxAhead is how far the clocks of operators and of the hub may differ.
const MaxAhead = 24 * time.Hour

// CheckGeneration returns an error unless a generation may be that of an entry now: it is
// a time, and one that is far ahead would leave no higher one for long.
func CheckGeneration(generation uint64, now time.Time) error {
	if limit := uint64(now.Add(MaxAhead).UnixMilli()); generation > limit {
		return fmt.Errorf("generation %d is a time more than %v ahead; one of the clocks is wrong, or it is not from an operator of ours", generation, MaxAhead)
	}
	return nil
}

// Digest returns the digest of a file, in hexadecimal.
func Digest(file []byte) string {
	sum := sha256.Sum256(file)
	return hex.EncodeToString(sum[:])
}

// ValidDigest reports whether text is a digest as Digest makes them.
func ValidDigest(text string) bool {
	b, err := hex.DecodeString(text)
	return err == nil && len(b) == sha256.Size && strings.ToLower(text) == text
}

// Place returns the place of a node in rollouts: places compare as strings.
func Place(node string) string {
	sum := sha256.Sum256([]byte("taskwatch rollout " + node))
	return hex.EncodeToString(sum[:8])
}

// Signed is an entry with its signature. The signature is of the text.
type Signed struct {
	Text      string `json:"text"`
	Signature string `json:"signature"`
}

// Bounds of an entry, in bytes.
const (
	MaxSigned = 64 << 10 // with its signature
	MaxSelect = 4 << 10  // of its selection: nodes and operators read those of all modules
)

// Size returns how many bytes a signed entry has.
func (s *Signed) Size() int { return len(s.Text) + len(s.Signature) }

// CheckSelect returns an error where a selection is too long.
func CheckSelect(text string) error {
	if len(text) > MaxSelect {
		return fmt.Errorf("the selection has %d bytes and may have %d: give the nodes a label, and select by that", len(text), MaxSelect)
	}
	return nil
}

// entryComment is what an entry is signed as, so that no other signature of the
// same key passes for one.
func entryComment(e *Entry) string {
	return fmt.Sprintf("taskwatch fleet entry %q generation %d", e.Module, e.Generation)
}

// SignEntry signs an entry.
func SignEntry(key minisign.PrivateKey, e *Entry) (*Signed, error) {
	if err := e.check(); err != nil {
		return nil, err
	}
	b, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	s := &Signed{Text: string(b), Signature: string(sign.SignAs(key, b, entryComment(e), "a taskwatch fleet entry"))}
	if n := s.Size(); n > MaxSigned {
		return nil, fmt.Errorf("the entry of module %s has %d bytes and may have %d: shorten its parameters", e.Module, n, MaxSigned)
	}
	return s, nil
}

// ErrForged says that an entry is not what one of the keys has signed.
var ErrForged = errors.New("the entry is not what a trusted key has signed")

// Open returns the entry and the id of the key that has signed it. Its errors
// match ErrForged, or those of package sign.
func (s *Signed) Open(keys *sign.Keys) (*Entry, string, error) {
	if s.Size() > MaxSigned {
		return nil, "", fmt.Errorf("%w: it has more than %d bytes", ErrForged, MaxSigned)
	}
	id, comment, err := keys.VerifyAs([]byte(s.Text), []byte(s.Signature))
	if err != nil {
		return nil, "", fmt.Errorf("%w: %w", ErrForged, err)
	}
	e, err := s.Unverified()
	if err != nil {
		return nil, "", err
	}
	if comment != entryComment(e) {
		return nil, "", fmt.Errorf("%w: it was signed as %.100q", ErrForged, comment)
	}
	return e, id, nil
}

// Unverified returns the entry, whoever has written it. One with fields that
// this version does not know is an error: they may be restrictions.
func (s *Signed) Unverified() (*Entry, error) {
	dec := json.NewDecoder(bytes.NewReader([]byte(s.Text)))
	dec.DisallowUnknownFields()
	var e Entry
	if err := dec.Decode(&e); err != nil {
		return nil, fmt.Errorf("the entry cannot be read: %w; a later taskwatch may have written it", err)
	}
	if dec.More() {
		return nil, errors.New("the entry cannot be read: something follows it")
	}
	return &e, e.check()
}

// isPlace reports whether a text may be the repository of a registry.
func isPlace(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && len(u.Path) > 1 &&
		u.User == nil && u.RawQuery == "" && u.Fragment == "" && !strings.ContainsAny(u.Path, "@:")
}

func (e *Entry) check() error {
	err := cmp.Or(module.CheckName(e.Module), CheckSelect(e.Select))
	switch {
	case err != nil:
	case e.Generation == 0:
		err = errors.New("it has no generation")
	case e.Expires.IsZero():
		err = errors.New("it does not say when it expires")
	case !e.Absent && !ValidDigest(e.Digest):
		err = fmt.Errorf("%.80q is not a digest", e.Digest)
	case e.Registry != "" && !isPlace(e.Registry):
		err = fmt.Errorf("%.80q is not a repository of a registry; it looks like https://HOST/NAME", e.Registry)
	case e.Lease < 0:
		err = fmt.Errorf("it has a lease of %v", e.Lease)
	}
	if err != nil {
		return fmt.Errorf("entry of module %.40q: %w", e.Module, err)
	}
	return nil
}
