package cri

// As for package daemon/api: protoc is Debian's protobuf-compiler.
//
//go:generate go build -o bin/ google.golang.org/protobuf/cmd/protoc-gen-go
//go:generate protoc --plugin=bin/protoc-gen-go --go_out=. --go_opt=paths=source_relative cri.proto
//go:generate rm -r bin
