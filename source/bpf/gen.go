package bpf

// The object and its loader are committed: building taskwatch needs no clang.
//
//go:generate go run ./gen
//go:generate go run github.com/cilium/ebpf/cmd/bpf2go -cc clang-19 -strip llvm-strip-19 -no-global-types -target bpfel stream c/stream.bpf.c -- -O2 -Wall -Werror -mcpu=v3
