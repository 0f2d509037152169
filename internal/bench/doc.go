// Package bench measures what watching costs the tasks that are watched, and
// what the watcher itself uses.
//
// A load (c/load.c) causes a known number of events as fast as it can. It is
// run alone and under a watcher in turns, pair by pair, so that whatever else
// the machine does hits both alike; the result is the median of the pairs'
// ratios, with the quartiles. The load runs on one processor and the watcher on
// another, or both wherever the kernel puts them. What a watcher was told is
// counted against what the load is known to have done.
//
// Watchers of taskwatch itself run in a child process, which is the calling
// program once more: see [Child].
package bench

// The programs and the module are committed: building taskwatch needs no clang.
//
//go:generate clang-19 --target=x86_64-linux-gnu -O2 -Wall -Werror -ffreestanding -fno-stack-protector -fno-pie -nostdlib -static -fuse-ld=lld -Wl,--build-id=none -Wl,-s -o load_amd64.elf c/load.c
//go:generate clang-19 --target=aarch64-linux-gnu -O2 -Wall -Werror -ffreestanding -fno-stack-protector -fno-pie -nostdlib -static -fuse-ld=lld -Wl,--build-id=none -Wl,-s -o load_arm64.elf c/load.c
//go:generate go run ../../module/build/cmd/modbuild -o . c/count.c
//go:generate go run ../../cmd/taskwatch module build -o count.wasm c/count.c
