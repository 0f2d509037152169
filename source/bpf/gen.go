package bpf

// The object and its loader are committed: building taskwatch needs no clang.
//
//go:generate go run ./gen
//go:generate go run github.com/cilium/ebpf/cmd/bpf2go -cc clang-19 -strip llvm-strip-19 -no-global-types -target bpfel stream c/stream.bpf.c -- -O2 -Wall -Werror -mcpu=v3

// The other form, which reads by calls, has the same programs, maps and variables.
//
//go:generate clang-19 -target bpfel -g -O2 -Wall -Werror -mcpu=v3 -fdebug-compilation-dir=. -DPROBE_READ -c c/stream.bpf.c -o stream_probe.o
//go:generate llvm-strip-19 -g stream_probe.o
