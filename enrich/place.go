package enrich

import (
	"strconv"
	"strings"
	"sync"
)

// Place is where a task is, as the path of its cgroup says.
type Place struct {
	// ID is the id of the innermost container, whole, or the name of a
	// machine of systemd-nspawn or LXC; "" outside of containers.
	ID string

	// Runtime is what created the container: docker, containerd, cri-o, podman,
	// systemd-nspawn or lxc; "" if the path does not show it.
	Runtime string

	// PodUID is the uid of the Kubernetes pod around it.
	PodUID string

	// Unit and Slice are those of the host's systemd. Units of a systemd inside
	// the container are ignored.
	Unit, Slice string
}

// The runtimes.
const (
	Docker     = "docker"
	Containerd = "containerd"
	CRIO       = "cri-o"
	Podman     = "podman"
	Nspawn     = "systemd-nspawn"
	LXC        = "lxc"
)

// prefixes of the names of a container's cgroup, before its id.
var prefixes = []struct{ prefix, runtime string }{
	{"docker-", Docker},
	{"cri-containerd-", Containerd},
	{"nerdctl-", Containerd},
	{"containerd-", Containerd},
	{"crio-", CRIO},
	{"libpod-payload-", Podman}, // --cgroups=split
	{"libpod-", Podman},
}

// locate interprets the path of a cgroup, as in Task.Cgroup. It only looks at
// the text.
func locate(cgroup string) Place {
	var p Place
	parts := strings.Split(cgroup, "/")
	outside := len(parts) // of all containers
	for i, part := range parts {
		if uid := podUID(part); uid != "" {
			p.PodUID = uid
		}
		parent, below := "", ""
		if i > 0 {
			parent = parts[i-1]
		}
		if i+1 < len(parts) {
			below = parts[i+1]
		}
		id, runtime := container(parent, part)
		if id == "" || watches(below, part, runtime) {
			continue
		}
		p.ID, p.Runtime = id, runtime
		if runtime == LXC { // whose cgroups are no units
			outside = min(outside, i)
		} else {
			outside = min(outside, i+1)
		}
	}
	for _, part := range parts[:outside] {
		switch kind := suffix(part); {
		case kind == "slice":
			p.Slice, p.Unit = part, ""
		case kind != "":
			p.Unit = part
		}
	}
	return p
}

// watches reports whether the cgroup below another one has only what watches
// containers: conmon, which podman with cgroupfs moves to POD/conmon, or
// systemd-nspawn in a unit.
func watches(part, above, runtime string) bool {
	return part == "conmon" && runtime == "" || part == "supervisor" && runtime == Nspawn && strings.HasSuffix(above, ".service")
}

// container returns the container whose cgroup a component is, and what runs
// it.
func container(parent, part string) (id, runtime string) {
	name, isScope := strings.CutSuffix(part, ".scope")
	// runc gets "slice:prefix:id" for systemd; without it that is a name.
	if i := strings.LastIndexByte(name, ':'); i >= 0 && !isScope {
		before := name[:i]
		if isID(name[i+1:]) {
			return name[i+1:], runtimeOf(before[strings.LastIndexByte(before, ':')+1:] + "-")
		}
	}
	if isID(name) && !isScope && parent != "libpod_parent" { // there it is a pod of podman
		return name, runtimeAt(parent)
	}
	for _, x := range prefixes {
		if rest, ok := strings.CutPrefix(name, x.prefix); ok && isID(rest) { // conmon-ID is none
			return rest, x.runtime
		}
	}
	switch {
	case isScope && strings.HasPrefix(name, "machine-") && !strings.HasPrefix(name, `machine-qemu\x2d`) && !strings.HasPrefix(name, `machine-lxc\x2d`):
		return unescape(strings.TrimPrefix(name, "machine-")), Nspawn
	case strings.HasPrefix(part, "systemd-nspawn@") && strings.HasSuffix(part, ".service"):
		return unescape(strings.TrimSuffix(strings.TrimPrefix(part, "systemd-nspawn@"), ".service")), Nspawn
	case strings.HasPrefix(part, "lxc.payload."):
		return strings.TrimPrefix(part, "lxc.payload."), LXC
	case (parent == "lxc.payload" || parent == "lxc") && part != "":
		return part, LXC
	}
	return "", ""
}

func runtimeOf(prefix string) string {
	for _, x := range prefixes {
		if x.prefix == prefix {
			return x.runtime
		}
	}
	return ""
}

// runtimeAt returns whose cgroups are named by the id alone, below a parent.
func runtimeAt(parent string) string {
	switch parent {
	case "docker", "moby":
		return Docker
	case "k8s.io", "default": // namespaces of containerd
		return Containerd
	}
	return ""
}

// isID reports whether a text is a whole id: 64 hexadecimal digits.
func isID(s string) bool { return len(s) == 64 && isHex(s) }

func isHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return s != ""
}

// podUID returns the uid of the pod whose cgroup a component is. systemd has
// slices within slices by dashes, so the uid has underscores there.
func podUID(part string) string {
	name, isSlice := strings.CutSuffix(part, ".slice")
	if i := strings.Index(name, ".slice:"); i >= 0 {
		name, isSlice = name[:i], true
	}
	if isSlice {
		i := strings.LastIndex(name, "-pod")
		if i < 0 || !strings.Contains(name[:i], "kubepods") {
			return ""
		}
		name = strings.ReplaceAll(name[i+1:], "_", "-")
	}
	uid, ok := strings.CutPrefix(name, "pod")
	switch {
	case !ok:
		return ""
	case len(uid) == 36 && uid[8] == '-' && uid[13] == '-' && uid[18] == '-' && uid[23] == '-' && isHex(strings.ReplaceAll(uid, "-", "")):
		return uid
	case len(uid) == 32 && isHex(uid): // of a static pod
		return uid
	}
	return ""
}

// suffix returns the type of a systemd unit, or "".
func suffix(part string) string {
	i := strings.LastIndexByte(part, '.')
	if i <= 0 {
		return ""
	}
	switch kind := part[i+1:]; kind {
	case "slice", "service", "scope", "socket", "mount", "swap":
		return kind
	}
	return ""
}

// unescape undoes systemd's \xNN.
func unescape(name string) string {
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		if i+4 <= len(name) && name[i] == '\\' && name[i+1] == 'x' {
			if n, err := strconv.ParseUint(name[i+2:i+4], 16, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(name[i])
	}
	return b.String()
}

// maxPlaces limits how many paths are remembered.
const maxPlaces = 4096

// Places caches the results of [Locate]. The zero value is ready for use. All
// methods may be called from any goroutine.
type Places struct {
	mu    sync.Mutex
	known map[string]Place
}

// Locate interprets the path of a cgroup, with a cache.
func (p *Places) Locate(cgroup string) Place {
	p.mu.Lock()
	defer p.mu.Unlock()
	if place, ok := p.known[cgroup]; ok {
		return place
	}
	if p.known == nil || len(p.known) >= maxPlaces {
		p.known = map[string]Place{}
	}
	place := locate(cgroup)
	p.known[strings.Clone(cgroup)] = place
	return place
}
