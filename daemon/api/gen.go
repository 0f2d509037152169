// Package api is the control interface of 'taskwatch serve', generated from
// daemon.proto: messages, and a client and a server of Connect.
package api

// The programs that generate are dependencies of the module (go.mod, tool);
// protoc is Debian's protobuf-compiler.
//
//go:generate go build -o bin/ google.golang.org/protobuf/cmd/protoc-gen-go connectrpc.com/connect/cmd/protoc-gen-connect-go
//go:generate protoc --plugin=bin/protoc-gen-go --plugin=bin/protoc-gen-connect-go --go_out=. --go_opt=paths=source_relative --connect-go_out=. --connect-go_opt=paths=source_relative,package_suffix daemon.proto
//go:generate rm -r bin
