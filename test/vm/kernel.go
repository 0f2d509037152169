package vm

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
)

// Kernel is a kernel image in the cache.
type Kernel struct {
	Series  string // what was asked for: "6.1"
	Package string // Debian's package: "linux-image-6.1.0-50-cloud-amd64"
	Version string // the package's version: "6.1.192-2"
	Image   string // path of the vmlinuz on the host
}

// String returns the package and its version.
func (k Kernel) String() string { return k.Package + " " + k.Version }

// CacheDir returns the directory that keeps the kernels: the value of
// TASKWATCH_VM_CACHE, else taskwatch/vm in the user's cache directory.
func CacheDir() (string, error) {
	if dir := os.Getenv("TASKWATCH_VM_CACHE"); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("vm: no cache directory: %w; set TASKWATCH_VM_CACHE", err)
	}
	return filepath.Join(dir, "taskwatch", "vm"), nil
}

// ErrUnknownKernel is the error where apt knows no kernel of a series: it has no
// lists of packages, or its suites have none.
var ErrUnknownKernel = errors.New("vm: no Debian cloud kernel of the series")

// FindKernel returns the current Debian cloud kernel of a series such as
// "6.1". It asks apt which package that is and downloads it unless the cache
// has it. Where apt cannot tell, the newest one in the cache is taken.
func FindKernel(ctx context.Context, series string) (Kernel, error) {
	if !regexp.MustCompile(`^[0-9]+\.[0-9]+$`).MatchString(series) {
		return Kernel{}, fmt.Errorf("vm: bad kernel series %q: want two numbers, as in 6.1", series)
	}
	if runtime.GOARCH != "amd64" {
		return Kernel{}, fmt.Errorf("vm: kernels are fetched for amd64 hosts only, this is %s", runtime.GOARCH)
	}
	cache, err := CacheDir()
	if err != nil {
		return Kernel{}, err
	}
	k, err := resolve(ctx, series)
	if err != nil {
		if old, ok := newestCached(cache, series); ok {
			return old, nil
		}
		return Kernel{}, err
	}
	dir := filepath.Join(cache, k.Package+"_"+k.Version)
	k.Image = filepath.Join(dir, "vmlinuz")
	if _, err := os.Stat(k.Image); err == nil {
		return k, nil
	}
	return k, download(ctx, k, dir)
}

// resolve asks apt for the package behind the meta-packages.
func resolve(ctx context.Context, series string) (Kernel, error) {
	metas := []string{"linux-image-" + series + "-cloud-amd64", "linux-image-cloud-amd64"}
	var tried []string
	for _, meta := range metas {
		out, err := output(ctx, "", "apt-cache", "depends", meta)
		if errors.Is(err, exec.ErrNotFound) {
			return Kernel{}, err
		}
		if err != nil {
			tried = append(tried, meta+": unknown to apt")
			continue
		}
		pkg := dependency(out)
		if !strings.HasPrefix(pkg, "linux-image-"+series+".") {
			tried = append(tried, meta+": stands for "+pkg)
			continue
		}
		out, err = output(ctx, "", "apt-cache", "policy", pkg)
		if err != nil {
			return Kernel{}, err
		}
		if version := candidate(out); version != "" {
			return Kernel{Series: series, Package: pkg, Version: version}, nil
		}
		tried = append(tried, pkg+": no version to install")
	}
	return Kernel{}, fmt.Errorf("%w %s (%s); run apt-get update, or add a suite that has it",
		ErrUnknownKernel, series, strings.Join(tried, "; "))
}

// dependency returns the kernel package in the output of apt-cache depends.
func dependency(out []byte) string {
	for line := range strings.Lines(string(out)) {
		if pkg, ok := strings.CutPrefix(strings.TrimSpace(line), "Depends: linux-image-"); ok {
			return "linux-image-" + pkg
		}
	}
	return ""
}

// candidate returns the version in the output of apt-cache policy.
func candidate(out []byte) string {
	for line := range strings.Lines(string(out)) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "Candidate: "); ok && v != "(none)" {
			return v
		}
	}
	return ""
}

// newestCached returns the kernel of the series that was downloaded last.
func newestCached(cache, series string) (Kernel, bool) {
	images, _ := filepath.Glob(filepath.Join(cache, "linux-image-"+series+".*", "vmlinuz"))
	if len(images) == 0 {
		return Kernel{}, false
	}
	age := func(p string) int64 {
		st, err := os.Stat(p)
		if err != nil {
			return 0
		}
		return st.ModTime().UnixNano()
	}
	image := slices.MaxFunc(images, func(a, b string) int { return int(age(a) - age(b)) })
	pkg, version, _ := strings.Cut(filepath.Base(filepath.Dir(image)), "_")
	return Kernel{Series: series, Package: pkg, Version: version, Image: image}, true
}

// download fetches the package and keeps its image and configuration in dir.
func download(ctx context.Context, k Kernel, dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return fmt.Errorf("vm: cache: %w", err)
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), "download-")
	if err != nil {
		return fmt.Errorf("vm: cache: %w", err)
	}
	defer os.RemoveAll(tmp)
	if _, err := output(ctx, tmp, "apt-get", "download", k.Package+"="+k.Version); err != nil {
		return fmt.Errorf("vm: download %s: %w", k, err)
	}
	debs, _ := filepath.Glob(filepath.Join(tmp, "*.deb"))
	if len(debs) != 1 {
		return fmt.Errorf("vm: download %s: apt-get left %d packages instead of one", k, len(debs))
	}
	got := filepath.Join(tmp, "kernel")
	if err := os.Mkdir(got, 0o755); err != nil {
		return fmt.Errorf("vm: cache: %w", err)
	}
	if err := unpack(ctx, debs[0], got); err != nil {
		return fmt.Errorf("vm: unpack %s: %w", debs[0], err)
	}
	if err := os.Rename(got, dir); err != nil {
		if _, statErr := os.Stat(filepath.Join(dir, "vmlinuz")); statErr == nil {
			return nil // another process was faster
		}
		return fmt.Errorf("vm: cache: %w", err)
	}
	return nil
}

// unpack writes the package's /boot/vmlinuz-* and /boot/config-* to dir as
// vmlinuz and config.
func unpack(ctx context.Context, deb, dir string) error {
	cmd := exec.CommandContext(ctx, "dpkg-deb", "--fsys-tarfile", deb)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return missing(err)
	}
	found, err := unpackTar(bufio.NewReader(pipe), dir)
	_, _ = io.Copy(io.Discard, pipe)
	if werr := cmd.Wait(); err == nil && werr != nil {
		err = fmt.Errorf("dpkg-deb: %w: %s", werr, bytes.TrimSpace(stderr.Bytes()))
	}
	if err == nil && !found {
		err = errors.New("it has no /boot/vmlinuz-*")
	}
	return err
}

func unpackTar(r io.Reader, dir string) (found bool, err error) {
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if err == io.EOF {
			return found, nil
		}
		if err != nil {
			return found, err
		}
		kind, _, _ := strings.Cut(path.Base(h.Name), "-")
		if path.Dir(path.Clean(h.Name)) != "boot" || h.Typeflag != tar.TypeReg || (kind != "vmlinuz" && kind != "config") {
			continue
		}
		f, err := os.Create(filepath.Join(dir, kind))
		if err != nil {
			return found, err
		}
		_, err = io.Copy(f, tr)
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			return found, err
		}
		found = found || kind == "vmlinuz"
	}
}

// output runs a host command and returns its stdout. Its error holds stderr.
func output(ctx context.Context, dir, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.Output()
	if err == nil {
		return out, nil
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return out, fmt.Errorf("%s: %w: %s", name, err, bytes.TrimSpace(exit.Stderr))
	}
	return out, missing(err)
}

// packages names the Debian package of each command that is needed.
var packages = map[string]string{
	"apt-cache":          "apt",
	"apt-get":            "apt",
	"dpkg-deb":           "dpkg",
	"qemu-system-x86_64": "qemu-system-x86",
	"busybox":            "busybox-static",
}

// missing adds the Debian package to the error of a command that was not
// found.
func missing(err error) error {
	var e *exec.Error
	if errors.As(err, &e) && errors.Is(err, exec.ErrNotFound) {
		return fmt.Errorf("vm: %s is not installed (Debian package %s): %w", e.Name, packages[e.Name], exec.ErrNotFound)
	}
	return err
}
