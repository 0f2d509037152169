package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// project is a program in C that is built again and again, as kernbench builds
// the kernel: with as many jobs as there are processors.
type project struct{ dir string }

// projectOutput is what a build of zlib makes.
const projectOutput = "libz.a"

// newProject copies the sources of zlib to dir, which must not exist, and
// configures them. Without a source, they are Debian's.
func newProject(ctx context.Context, dir, source string) (*project, error) {
	for _, tool := range []string{"make", "cc"} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, &unable{tool + " is not installed"}
		}
	}
	if source == "" {
		var err error
		if source, err = DebianSource("zlib"); err != nil {
			return nil, &unable{strings.Join(strings.Fields(err.Error()), " ")}
		}
	}
	if err := os.CopyFS(dir, os.DirFS(source)); err != nil {
		return nil, fmt.Errorf("bench: the sources of zlib: %w", err)
	}
	p := &project{dir}
	return p, p.run(ctx, "sh", "./configure", "--static")
}

// build builds all of it and returns how long that took.
func (p *project) build(ctx context.Context) (time.Duration, error) {
	if err := p.run(ctx, "make", "-s", "clean"); err != nil {
		return 0, err
	}
	begin := time.Now()
	err := p.run(ctx, "make", "-s", fmt.Sprintf("-j%d", runtime.NumCPU()), projectOutput)
	took := time.Since(begin)
	if err == nil {
		_, err = os.Stat(filepath.Join(p.dir, projectOutput))
	}
	return took, err
}

func (p *project) run(ctx context.Context, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = p.dir
	defer endsWithUs(cmd)()
	if out, err := cmd.CombinedOutput(); err != nil {
		return errors.Join(ctx.Err(), fmt.Errorf("bench: %s in zlib's sources: %w: %s", cmd, err, out))
	}
	return nil
}
