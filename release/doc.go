// Release makes the files of a release of taskwatch in a directory:
//
//	go -C release run . -o /tmp/release
//
// For amd64 and arm64 it makes an archive and a .deb and an .rpm package, each
// with a static binary, the man pages, completions, the unit of systemd, the
// commented configuration and the stock modules; one OCI image for both
// processors; and a list of what the binaries are made of (SBOM, CycloneDX). It
// makes the same for the hub of a fleet, taskwatch-hub, and checksums of all. It
// builds what is committed. It needs git, clang and lld, and neither root nor a
// Docker daemon.
//
// The version is the newest tag, as git describes it, unless -version gives it.
// Two runs on one commit, with one version of Go and of clang, give the same
// bytes: all times are that of the commit.
package main
