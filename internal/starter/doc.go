// Package starter starts commands so that they have nothing of the program
// that starts them: neither the high-water mark of its memory, which outlives
// an exec, nor a signal for its death, unless that is asked for.
//
// A first stage of a few KB (c/starter.c) makes the command's process, and runs
// where Go cannot run code: between fork and exec.
package starter

//go:generate clang-19 --target=x86_64-linux-gnu -Os -Wall -Werror -ffreestanding -fno-stack-protector -fno-pie -fno-asynchronous-unwind-tables -nostdlib -static -fuse-ld=lld -Wl,--build-id=none -Wl,-s -Wl,-z,noseparate-code -o starter_amd64.elf c/starter.c
//go:generate clang-19 --target=aarch64-linux-gnu -Os -Wall -Werror -ffreestanding -fno-stack-protector -fno-pie -fno-asynchronous-unwind-tables -nostdlib -static -fuse-ld=lld -Wl,--build-id=none -Wl,-s -Wl,-z,noseparate-code -o starter_arm64.elf c/starter.c
