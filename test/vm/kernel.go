package vm

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Kernel is a kernel image in the cache.
type Kernel struct {
	Arch    Arch   // the processor that it is for
	Series  string // what was asked for: "6.1", or with a flavour "6.12-rt"
	Package string // Debian's package: "linux-image-6.1.0-50-cloud-amd64"
	Version string // the package's version: "6.1.192-2"
	Image   string // path of the vmlinuz on the host

	// Modules are the paths of what the guest loads before it does anything: what
	// the tests use and Debian does not build into the image.
	Modules []string

	// Network are those that a guest with a network loads, too.
	Network []string
}

// The directories of modules in that of a kernel in the cache.
const (
	moduleDir  = "modules"
	networkDir = "network"
)

// wantedModules are the files of Kernel.Modules and Kernel.Network, in the
// directory of a kernel's modules. Some kernels compress them, and some have a
// part of them built in.
var wantedModules = map[string][]string{
	moduleDir: {"kernel/fs/binfmt_misc.ko", "kernel/fs/overlayfs/overlay.ko", "kernel/drivers/block/loop.ko"},
	networkDir: {
		"kernel/drivers/virtio/virtio.ko", "kernel/drivers/virtio/virtio_ring.ko", "kernel/drivers/virtio/virtio_pci_legacy_dev.ko",
		"kernel/drivers/virtio/virtio_pci_modern_dev.ko", "kernel/drivers/virtio/virtio_pci.ko",
		"kernel/net/core/failover.ko", "kernel/drivers/net/net_failover.ko", "kernel/drivers/net/virtio_net.ko",
	},
}

// keptName returns the name that a file of a kernel's package has in the cache, or
// "" if it is not kept.
func keptName(name string) string {
	kind, _, _ := strings.Cut(path.Base(name), "-")
	if path.Dir(name) == "boot" && (kind == "vmlinuz" || kind == "config") {
		return kind
	}
	module := strings.TrimSuffix(name, ".xz")
	for dir, wanted := range wantedModules {
		if slices.ContainsFunc(wanted, func(w string) bool { return strings.HasSuffix(module, "/"+w) }) {
			return path.Join(dir, path.Base(name))
		}
	}
	return ""
}

// findModules fills in the modules beside the image, and reports whether they are
// there.
func (k *Kernel) findModules() bool {
	list := func(dir string) []string {
		files, _ := filepath.Glob(filepath.Join(filepath.Dir(k.Image), dir, "*"))
		return files
	}
	k.Modules, k.Network = list(moduleDir), list(networkDir)
	return len(k.Modules) == len(wantedModules[moduleDir]) && len(k.Network) > 0
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
var ErrUnknownKernel = errors.New("vm: no Debian kernel of the series")

// A series is two numbers, and perhaps a flavour of Debian's kernels.
var seriesRE = regexp.MustCompile(`^([0-9]+\.[0-9]+)(?:-([a-z0-9]+))?$`)

// FindKernel returns Debian's current kernel of a series: "6.1" is the cloud
// kernel; "6.12-generic", "6.12-rt" and, for arm64, "6.12-16k" are the others.
// It asks apt which package that is and downloads it unless the cache has it.
// Where apt cannot tell, the newest one in the cache is taken. Another
// processor than the host's takes dpkg --add-architecture.
func FindKernel(ctx context.Context, arch Arch, series string) (Kernel, error) {
	m := seriesRE.FindStringSubmatch(series)
	if m == nil {
		return Kernel{}, fmt.Errorf("vm: bad kernel series %q: want two numbers, as in 6.1, and perhaps a flavour, as in 6.12-rt", series)
	}
	if _, err := arch.lookup(); err != nil {
		return Kernel{}, err
	}
	cache, err := CacheDir()
	if err != nil {
		return Kernel{}, err
	}
	k, err := resolve(ctx, arch, m[1], m[2])
	k.Series = series
	if err != nil {
		if old, ok := newestCached(cache, arch, series, m[1], m[2]); ok {
			return old, nil
		}
		return Kernel{}, err
	}
	dir := filepath.Join(cache, k.Package+"_"+k.Version)
	k.Image = filepath.Join(dir, "vmlinuz")
	if k.findModules() {
		return k, nil
	}
	_ = os.RemoveAll(dir) // of an earlier version, which kept fewer
	err = fetch(ctx, debianName(k.Package, arch)+"="+k.Version, dir, keptName)
	k.findModules()
	return k, err
}

// flavourName returns how Debian's packages name a flavour.
func flavourName(arch Arch, flavour string) string {
	switch flavour {
	case "":
		return "cloud-" + string(arch)
	case "generic":
		return string(arch)
	case "16k":
		return string(arch) + "-16k"
	}
	return flavour + "-" + string(arch)
}

// debianName names a package for apt.
func debianName(pkg string, arch Arch) string {
	if arch == HostArch || strings.Contains(pkg, ":") {
		return pkg
	}
	return pkg + ":" + string(arch)
}

// resolve asks apt for the package behind the meta-packages.
func resolve(ctx context.Context, arch Arch, number, flavour string) (Kernel, error) {
	name := flavourName(arch, flavour)
	metas := []string{"linux-image-" + number + "-" + name, "linux-image-" + name}
	var tried []string
	for _, meta := range metas {
		out, err := aptCache(ctx, "depends", debianName(meta, arch))
		if errors.Is(err, exec.ErrNotFound) {
			return Kernel{}, err
		}
		if err != nil {
			tried = append(tried, meta+": unknown to apt")
			continue
		}
		pkg, _, _ := strings.Cut(dependency(out), ":")
		if !strings.HasPrefix(pkg, "linux-image-"+number+".") {
			tried = append(tried, meta+": stands for "+pkg)
			continue
		}
		out, err = aptCache(ctx, "policy", debianName(pkg, arch))
		if err != nil {
			return Kernel{}, err
		}
		if version := candidate(out); version != "" {
			return Kernel{Arch: arch, Package: pkg, Version: version}, nil
		}
		tried = append(tried, pkg+": no version to install")
	}
	return Kernel{}, fmt.Errorf("%w %s, %s (%s); run %sapt-get update, or add a suite that has it",
		ErrUnknownKernel, number, name, strings.Join(tried, "; "), arch.addition())
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
func newestCached(cache string, arch Arch, series, number, flavour string) (Kernel, bool) {
	images, _ := filepath.Glob(filepath.Join(cache, "linux-image-"+number+".*", "vmlinuz"))
	// linux-image-6.12.9+deb12-amd64 is generic, linux-image-6.12.9+deb12-rt-amd64 is not.
	suffix := regexp.MustCompile(`^linux-image-[^-]*(-[0-9]+)?-` + regexp.QuoteMeta(flavourName(arch, flavour)) + `$`)
	images = slices.DeleteFunc(images, func(p string) bool {
		pkg, _, _ := strings.Cut(filepath.Base(filepath.Dir(p)), "_")
		return !suffix.MatchString(pkg)
	})
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
	image := slices.MaxFunc(images, func(a, b string) int { return cmp.Compare(age(a), age(b)) })
	pkg, version, _ := strings.Cut(filepath.Base(filepath.Dir(image)), "_")
	k := Kernel{Arch: arch, Series: series, Package: pkg, Version: version, Image: image}
	k.findModules()
	return k, true
}

// aptCache asks apt. Systems made for containers tell apt to keep nothing of what
// it has read, and then each question takes seconds; so it is kept with ours. apt
// sees for itself when its lists are newer.
func aptCache(ctx context.Context, args ...string) ([]byte, error) {
	dir, err := CacheDir()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("vm: cache: %w", err)
	}
	return output(ctx, "", "apt-cache", append([]string{"-o", "Dir::Cache::pkgcache=" + filepath.Join(dir, "pkgcache.bin")}, args...)...)
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
	"apt-cache":           "apt",
	"apt-get":             "apt",
	"dpkg-deb":            "dpkg",
	"qemu-system-x86_64":  "qemu-system-x86",
	"qemu-system-aarch64": "qemu-system-arm",
	"busybox":             "busybox-static",
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
