package wasm

import (
	"cmp"
	"context"
	"time"
)

// Parser parses modules, with a say in how their code is compiled. The zero
// value is ready for use: it compiles in this process and keeps nothing. A
// Parser may be used from any goroutine once its fields are set.
type Parser struct {
	// Cache is a directory for compiled code, which is native code of this
	// machine. It is created if it does not exist. It must belong to the
	// effective user and be closed to everybody else, and is kept below 256
	// MiB. "" keeps nothing.
	Cache string

	// Compile, if set, compiles code into a directory in another process, since
	// this one cannot stop its compiler: see [CompileBy]. It needs Cache.
	Compile func(ctx context.Context, dir string, code []byte) error

	// Timeout is how long Compile may take; 0 stands for 30 s.
	Timeout time.Duration
}

// Parse is like the function of that name.
func (p *Parser) Parse(name string, code []byte) (*Object, error) {
	o := &Object{Name: name, uses: 1}
	if err := o.parse(p, code); err != nil {
		if o.cache != nil {
			_ = o.cache.Close(background)
		}
		return nil, failure("parse", name, err)
	}
	return o, nil
}

func (p *Parser) timeout() time.Duration { return cmp.Or(p.Timeout, 30*time.Second) }
