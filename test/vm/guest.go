package vm

import (
	"bufio"
	"context"
	"debug/elf"
	_ "embed"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

//go:embed init.sh
var initScript []byte

// writeInitramfs writes the guest's root file system to the host file name.
func writeInitramfs(ctx context.Context, name string, cfg *Config, hw *hardware, token string) error {
	busybox, err := findBusybox(ctx, cfg.Kernel.Arch)
	if err != nil {
		return err
	}
	out, err := os.Create(name)
	if err != nil {
		return fmt.Errorf("vm: %w", err)
	}
	defer out.Close()
	w := bufio.NewWriterSize(out, 1<<20)
	c := newCpioWriter(w)
	for _, dir := range []string{"/proc", "/sys", "/dev", "/run", "/root", "/sbin", "/usr/bin", "/usr/sbin", "/var/tmp", "/mnt"} {
		if err := c.add(File{Guest: dir, Mode: fs.ModeDir}); err != nil {
			return err
		}
	}
	files := []File{
		{Guest: "/tmp", Mode: fs.ModeDir | fs.ModeSticky | 0o777},
		{Guest: "/bin/busybox", Host: busybox, Mode: 0o755},
		{Guest: "/init", Data: initScript, Mode: 0o755},
		{Guest: "/.vm/token", Data: []byte(token)},
		{Guest: "/.vm/tty", Data: []byte("/dev/" + hw.output)},
		{Guest: "/.vm/setup", Data: []byte(cfg.Setup + "\n")},
		{Guest: "/.vm/run", Data: runScript(cfg), Mode: 0o755},
		{Guest: "/etc/passwd", Data: []byte("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n")},
		{Guest: "/etc/group", Data: []byte("root:x:0:\nnogroup:x:65534:\n")},
		{Guest: "/etc/hosts", Data: []byte("127.0.0.1 localhost vm\n")},
		{Guest: "/etc/os-release", Data: []byte("ID=taskwatch-vm\n")},
	}
	modules := cfg.Kernel.Modules
	if cfg.Network {
		modules = append(slices.Clone(modules), cfg.Kernel.Network...)
	}
	for _, module := range modules {
		files = append(files, File{Guest: "/.vm/modules/" + filepath.Base(module), Host: module, Mode: 0o644})
	}
	for _, f := range append(files, cfg.Files...) {
		if err := c.add(f); err != nil {
			return fmt.Errorf("vm: guest file %s: %w", f.Guest, err)
		}
	}
	if err := c.close(); err != nil {
		return fmt.Errorf("vm: initramfs: %w", err)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("vm: initramfs: %w", err)
	}
	return out.Close()
}

// runScript returns the shell script that runs the command of cfg.
func runScript(cfg *Config) []byte {
	var b strings.Builder
	dir := cfg.Dir
	if dir == "" {
		dir = "/"
	}
	fmt.Fprintf(&b, "#!/bin/busybox sh\ncd %s || exit 127\nexport HOME=/root\n", quote(dir))
	for _, kv := range cfg.Env {
		name, value, _ := strings.Cut(kv, "=")
		fmt.Fprintf(&b, "export %s=%s\n", name, quote(value))
	}
	b.WriteString("exec")
	for _, arg := range cfg.Cmd {
		b.WriteString(" " + quote(arg))
	}
	b.WriteString("\n")
	return []byte(b.String())
}

// quote makes s one word of the shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// findBusybox returns the path of a busybox that runs without libraries.
func findBusybox(ctx context.Context, arch Arch) (string, error) {
	if arch != HostArch {
		return foreignBusybox(ctx, arch)
	}
	p, err := exec.LookPath("busybox")
	if err != nil {
		return "", missing(err)
	}
	f, err := elf.Open(p)
	if err != nil {
		return "", fmt.Errorf("vm: %s: %w", p, err)
	}
	defer f.Close()
	for _, prog := range f.Progs {
		if prog.Type == elf.PT_INTERP {
			return "", fmt.Errorf("vm: %s needs shared libraries, which the guest does not have; install the Debian package %s", p, packages["busybox"])
		}
	}
	return p, nil
}

// foreignBusybox returns the busybox of another processor. It is downloaded
// unless the cache has it.
func foreignBusybox(ctx context.Context, arch Arch) (string, error) {
	cache, err := CacheDir()
	if err != nil {
		return "", err
	}
	files, err := unpacked(ctx, cache, arch, packages["busybox"])
	if err != nil {
		return "", err
	}
	for _, f := range files {
		if filepath.Base(f.Guest) == "busybox" && f.Host != "" && !f.Mode.IsDir() && strings.Contains(f.Guest, "bin/") {
			return f.Host, nil
		}
	}
	return "", fmt.Errorf("vm: the package %s for %s has no busybox", packages["busybox"], arch)
}
