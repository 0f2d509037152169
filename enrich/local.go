package enrich

import (
	"os"
	"strings"
)

// Local returns the runtimes with Docker's API that listen on this machine:
// docker.sock, podman.sock, and the sockets that DOCKER_HOST and CONTAINER_HOST
// name as unix://PATH.
func Local() []Runtime {
	var list []Runtime
	for _, path := range Sockets([]string{"/run/docker.sock", "/run/podman/podman.sock"}, "DOCKER_HOST", "CONTAINER_HOST") {
		list = append(list, newDocker(path))
	}
	return list
}

// Sockets returns the paths of the sockets that are there: first those that
// environment variables name as unix://PATH, then the usual ones.
func Sockets(usual []string, variables ...string) []string {
	var all, there []string
	for _, name := range variables {
		if path, ok := strings.CutPrefix(os.Getenv(name), "unix://"); ok {
			all = append(all, path)
		}
	}
	for _, path := range append(all, usual...) {
		if st, err := os.Stat(path); err == nil && st.Mode()&os.ModeSocket != 0 {
			there = append(there, path)
		}
	}
	return there
}
