// Package vm boots a Linux kernel in QEMU, runs one command in it, and
// returns what the command printed and how it ended.
//
// The kernels are Debian's cloud kernels, found through Debian's
// meta-packages and kept in a cache directory of the user (see [CacheDir]).
// The guest is an initramfs made here: a static busybox, an init script and
// the caller's files. There is no disk, and no network but loopback unless
// [Config] asks for one.
//
// No privileges are needed. The host must be amd64 Linux with the Debian
// packages qemu-system-x86, busybox-static, apt and dpkg.
//
// At most [MaxBoots] machines run at a time, counted over all processes that
// share the cache directory; [Run] waits for its turn.
package vm
