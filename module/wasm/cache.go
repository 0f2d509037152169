package wasm

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/tetratelabs/wazero"
)

// maxCache is how many bytes of compiled code a cache keeps.
var maxCache int64 = 256 << 20

// compileInto compiles code, as a [Parser] has given it, into a directory.
func compileInto(dir string, code []byte) error {
	cache, err := wazero.NewCompilationCacheWithDir(dir)
	if err != nil {
		return err
	}
	defer cache.Close(background)
	rt := wazero.NewRuntimeWithConfig(background, runtimeConfig().WithCompilationCache(cache))
	defer rt.Close(background)
	compiled, err := rt.CompileModule(compileContext(), code)
	if err != nil {
		return invalid("malformed module: %s", firstLine(err))
	}
	return compiled.Close(background)
}

// CheckCache makes the directory of a cache if it is not there, and returns an
// error that says why where it cannot be one: what is in it is run.
func CheckCache(dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	owner := info.Sys().(*syscall.Stat_t).Uid
	switch {
	case !info.IsDir():
		return fmt.Errorf("the cache %s is not a directory; remove it", dir)
	case int(owner) != os.Geteuid():
		return fmt.Errorf("the cache %s belongs to user %d and not to user %d, but its contents would be executed; choose another directory", dir, owner, os.Geteuid())
	case info.Mode().Perm()&0o077 != 0:
		return fmt.Errorf("the cache %s has the mode %#o, which gives others access, but its contents would be executed; remove it, or set the mode 0700 if nobody has changed it",
			dir, info.Mode().Perm())
	}
	return nil
}

// version is what compiled code depends on beside the module.
var version = sync.OnceValue(func() string {
	v := runtime.GOARCH + " " + runtime.Version()
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, dep := range info.Deps {
			if dep.Path == "github.com/tetratelabs/wazero" {
				v += " " + dep.Version
			}
		}
	}
	return v
})

// open returns a place for compiled code, which has that of the module if the
// parser keeps it, or can have it compiled elsewhere.
func (p *Parser) open(code []byte) (wazero.CompilationCache, error) {
	if p.Cache == "" {
		return wazero.NewCompilationCache(), nil
	}
	if err := CheckCache(p.Cache); err != nil {
		return nil, err
	}
	sum := sha256.Sum256(append([]byte(version()+"\x00"), code...))
	dir := filepath.Join(p.Cache, hex.EncodeToString(sum[:]))
	now := time.Now()
	if err := os.Chtimes(dir, now, now); err == nil { // it is there, and used
		return wazero.NewCompilationCacheWithDir(dir)
	}
	if err := p.fill(dir, code); err != nil {
		return nil, err
	}
	trim(p.Cache, dir)
	return wazero.NewCompilationCacheWithDir(dir)
}

// fill compiles into a directory that is there once it is complete.
func (p *Parser) fill(dir string, code []byte) error {
	temp, err := os.MkdirTemp(filepath.Dir(dir), "new-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	if p.Compile == nil {
		err = compileInto(temp, code)
	} else {
		ctx, cancel := context.WithTimeout(background, p.timeout())
		defer cancel()
		err = p.Compile(ctx, temp, code)
		if ctx.Err() != nil {
			err = invalid("compiling it takes more than %v", p.timeout())
		}
	}
	if err != nil {
		return err
	}
	if err := os.Rename(temp, dir); err != nil && !errors.Is(err, fs.ErrExist) && !errors.Is(err, syscall.ENOTEMPTY) {
		return err // else another process was first
	}
	return nil
}

// trim removes what was not used for the longest, and what a process left
// behind, until no more is kept than may be. What cannot be removed stays.
func trim(cache, except string) {
	type kept struct {
		dir  string
		size int64
		used time.Time
	}
	entries, err := os.ReadDir(cache)
	if err != nil {
		return
	}
	var list []kept
	var total int64
	for _, e := range entries {
		k := kept{dir: filepath.Join(cache, e.Name())}
		if info, err := e.Info(); err == nil {
			k.used = info.ModTime()
		}
		if strings.HasPrefix(e.Name(), "new-") && time.Since(k.used) > time.Hour {
			_ = os.RemoveAll(k.dir)
			continue
		}
		_ = filepath.WalkDir(k.dir, func(_ string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				if info, err := d.Info(); err == nil {
					k.size += info.Size()
				}
			}
			return nil
		})
		total += k.size
		if k.dir != except && !strings.HasPrefix(e.Name(), "new-") {
			list = append(list, k)
		}
	}
	slices.SortFunc(list, func(a, b kept) int { return cmp.Compare(a.used.UnixNano(), b.used.UnixNano()) })
	for _, k := range list {
		if total <= maxCache {
			return
		}
		_ = os.RemoveAll(k.dir)
		total -= k.size
	}
}
