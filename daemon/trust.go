package daemon

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/taskwatch/taskwatch/module/sign"
	stock "github.com/taskwatch/taskwatch/modules"
)

// Trust says whose modules are loaded. The zero value asks for no signatures.
type Trust struct {
	// Keys are files of public keys, in the format of minisign. With any, a
	// module has to be signed by one of them. They have to belong to root or to
	// the daemon's user, and nobody else may write to them.
	Keys []string

	// Required asks for a signature in any case: without keys there is none
	// that would do, and the daemon does not start.
	Required bool
}

// Read reads the keys. It returns nil where no signatures are asked for.
func (t *Trust) Read() (*sign.Keys, error) {
	if len(t.Keys) == 0 {
		if t.Required {
			return nil, errors.New("signatures are required, but no key is trusted; give a key with --trust, or with keys in [trust] of the configuration")
		}
		return nil, nil
	}
	return sign.ReadKeys(t.Keys...)
}

// trusted are the keys that the daemon trusts now.
type trusted struct {
	mu   sync.Mutex
	keys *sign.Keys // nil asks for nothing
}

func (t *trusted) set(keys *sign.Keys) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.keys = keys
}

func (t *trusted) get() *sign.Keys {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.keys
}

// verify returns the signer of a module, or nil where none is asked for. A
// stock module is a part of the daemon's program, and is trusted like that.
func (t *trusted) verify(s *spec) (*sign.Signer, error) {
	keys := t.get()
	if keys == nil || stock.IsStock(s.file) {
		return nil, nil
	}
	signer, err := keys.Verify(s.file, s.signature, s.name)
	if errors.Is(err, sign.ErrUnsigned) {
		err = fmt.Errorf("%w, and this daemon wants it to be; 'taskwatch module sign' does that", err)
	}
	return signer, err
}

// ReloadKeys reads the keys that are trusted anew, for what is loaded from then
// on. If that fails, those of before are trusted. Modules that were loaded stay;
// the log says which of them would not be loaded any more.
func (d *Daemon) ReloadKeys(t Trust) error {
	keys, err := t.Read()
	if err != nil {
		return err
	}
	d.trust.set(keys)
	if keys == nil {
		return nil
	}
	var strangers []string
	for _, v := range d.modules.views() {
		if !v.spec.stock && (v.spec.signer == "" || !keys.Has(v.spec.signer)) {
			strangers = append(strangers, v.spec.name)
		}
	}
	if slices.Sort(strangers); strangers != nil {
		d.log.Warn("modules are loaded whose signers are no longer trusted", "modules", strangers)
	}
	return nil
}
