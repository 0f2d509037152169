package enrich

import (
	"strings"
	"testing"
)

// Paths as they were seen on machines, with the ids made shorter to write.
func TestLocate(t *testing.T) {
	const uid = "1f2e3d4c-0001-4a2b-8c3d-0123456789ab"
	under := strings.ReplaceAll(uid, "-", "_")
	id := strings.Repeat("0123456789abcdef", 4)
	two := strings.Repeat("fedcba9876543210", 4)
	for _, c := range []struct {
		path string
		want Place
	}{
		// Docker: systemd and cgroupfs drivers, rootless, a parent of the user's, v1 and hybrid.
		{"/system.slice/docker-ID.scope", Place{ID: id, Runtime: Docker, Unit: "docker-ID.scope", Slice: "system.slice"}},
		{"/docker/ID", Place{ID: id, Runtime: Docker}},
		{"/docker/ID/init.scope", Place{ID: id, Runtime: Docker}},
		{"/user.slice/user-1000.slice/user@1000.service/user.slice/docker-ID.scope", Place{ID: id, Runtime: Docker, Unit: "docker-ID.scope", Slice: "user.slice"}},
		{"/my.slice/docker-ID.scope/system.slice/nginx.service", Place{ID: id, Runtime: Docker, Unit: "docker-ID.scope", Slice: "my.slice"}},
		{"/custom/ID", Place{ID: id}},
		{"/ecs/0a1b2c3d/ID", Place{ID: id}},
		{"/docker/ID/docker/TWO", Place{ID: two, Runtime: Docker}},
		{"/../../docker-ID.scope", Place{ID: id, Runtime: Docker, Unit: "docker-ID.scope"}},
		// Kubernetes.
		{"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podUNDER.slice/cri-containerd-ID.scope",
			Place{ID: id, Runtime: Containerd, PodUID: uid, Unit: "cri-containerd-ID.scope", Slice: "kubepods-burstable-podUNDER.slice"}},
		{"/kubepods.slice/kubepods-podUNDER.slice/crio-ID.scope/container",
			Place{ID: id, Runtime: CRIO, PodUID: uid, Unit: "crio-ID.scope", Slice: "kubepods-podUNDER.slice"}},
		{"/kubepods.slice/kubepods-podUNDER.slice/crio-conmon-ID.scope",
			Place{PodUID: uid, Unit: "crio-conmon-ID.scope", Slice: "kubepods-podUNDER.slice"}},
		{"/kubepods/burstable/podUID/ID", Place{ID: id, PodUID: uid}},
		{"/kubepods/podUID/crio-ID", Place{ID: id, Runtime: CRIO, PodUID: uid}},
		{"/kubepods/besteffort/pod0123456789abcdef0123456789abcdef/ID", Place{ID: id, PodUID: "0123456789abcdef0123456789abcdef"}},
		{"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podUNDER.slice", Place{PodUID: uid, Slice: "kubepods-burstable-podUNDER.slice"}},
		{"/system.slice/containerd.service/kubepods-burstable-podUNDER.slice:cri-containerd:ID",
			Place{ID: id, Runtime: Containerd, PodUID: uid, Unit: "containerd.service", Slice: "system.slice"}},
		{"/k8s.io/ID", Place{ID: id, Runtime: Containerd}},
		{"/default/ID", Place{ID: id, Runtime: Containerd}},
		{"/system.slice/nerdctl-ID.scope", Place{ID: id, Runtime: Containerd, Unit: "nerdctl-ID.scope", Slice: "system.slice"}},
		// kind: a cluster in a container.
		{"/system.slice/docker-ID.scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-podUNDER.slice/cri-containerd-TWO.scope",
			Place{ID: two, Runtime: Containerd, PodUID: uid, Unit: "docker-ID.scope", Slice: "system.slice"}},
		{"/docker/TWO/kubelet/kubepods/burstable/podUID/ID", Place{ID: id, PodUID: uid}},
		{"/docker/TWO/kubelet/kubelet.slice/kubelet.service", Place{ID: two, Runtime: Docker}},
		{"/system.slice/docker-TWO.scope/kubelet/kubepods/podUID", Place{ID: two, Runtime: Docker, PodUID: uid, Unit: "docker-TWO.scope", Slice: "system.slice"}},
		{"/machine.slice/libpod-TWO.scope/container/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-podUNDER.slice/cri-containerd-ID.scope",
			Place{ID: id, Runtime: Containerd, PodUID: uid, Unit: "libpod-TWO.scope", Slice: "machine.slice"}},
		// k3s without systemd's driver, minikube's docker, and cri-dockerd.
		{"/system.slice/k3s.service/kubepods/besteffort/podUID/ID", Place{ID: id, PodUID: uid, Unit: "k3s.service", Slice: "system.slice"}},
		{"/docker/TWO/system.slice/docker-ID.scope", Place{ID: id, Runtime: Docker}},
		{"/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podUNDER.slice/docker-ID.scope",
			Place{ID: id, Runtime: Docker, PodUID: uid, Unit: "docker-ID.scope", Slice: "kubepods-besteffort-podUNDER.slice"}},
		{"/kubepods-besteffort-podUNDER.slice:cri-containerd:ID", Place{ID: id, Runtime: Containerd, PodUID: uid}},
		{"/system.slice:docker:ID", Place{ID: id, Runtime: Docker}},
		{"/ecstasks.slice/ecstasks-0a1b2c3d.slice/docker-ID.scope", Place{ID: id, Runtime: Docker, Unit: "docker-ID.scope", Slice: "ecstasks-0a1b2c3d.slice"}},
		// podman: rootful and not, with crun's cgroup below, in pods, by cgroupfs, in a unit; conmon is no container.
		{"/machine.slice/libpod-ID.scope", Place{ID: id, Runtime: Podman, Unit: "libpod-ID.scope", Slice: "machine.slice"}},
		{"/machine.slice/libpod-ID.scope/container", Place{ID: id, Runtime: Podman, Unit: "libpod-ID.scope", Slice: "machine.slice"}},
		{"/machine.slice/libpod-conmon-ID.scope", Place{Unit: "libpod-conmon-ID.scope", Slice: "machine.slice"}},
		{"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope/container", Place{ID: id, Runtime: Podman, Unit: "libpod-ID.scope", Slice: "user.slice"}},
		{"/machine.slice/machine-libpod_pod_TWO.slice/libpod-ID.scope", Place{ID: id, Runtime: Podman, Unit: "libpod-ID.scope", Slice: "machine-libpod_pod_TWO.slice"}},
		{"/libpod_parent/libpod-ID", Place{ID: id, Runtime: Podman}},
		{"/libpod_parent/libpod-conmon-ID", Place{}},
		{"/libpod_parent/conmon", Place{}},
		{"/libpod_parent/TWO/libpod-ID", Place{ID: id, Runtime: Podman}},
		{"/libpod_parent/TWO/conmon", Place{}},
		{"/libpod_parent/TWO", Place{}},
		{"/mine/TWO/libpod-ID/container", Place{ID: id, Runtime: Podman}},
		{"/mine/TWO/conmon", Place{}},
		{"/docker/ID/supervisor", Place{ID: id, Runtime: Docker}},
		{"/user.slice/user-1000.slice/user@1000.service/user.slice/user-libpod_pod_TWO.slice/libpod-ID.scope/container",
			Place{ID: id, Runtime: Podman, Unit: "libpod-ID.scope", Slice: "user-libpod_pod_TWO.slice"}},
		{"/user.slice/user-1000.slice/user@1000.service/user.slice/podman-4711.scope", Place{Unit: "podman-4711.scope", Slice: "user.slice"}},
		{"/user.slice/user-1000.slice/user@1000.service/app.slice/web.service/libpod-payload-ID", Place{ID: id, Runtime: Podman, Unit: "web.service", Slice: "app.slice"}},
		{"/docker/TWO/libpod_parent/conmon", Place{ID: two, Runtime: Docker}}, // podman inside of docker
		{"/docker/TWO/libpod_parent/libpod-ID", Place{ID: id, Runtime: Podman}},
		{"/system.slice/web.service/libpod-payload-ID", Place{ID: id, Runtime: Podman, Unit: "web.service", Slice: "system.slice"}},
		{"/system.slice/web.service/runtime", Place{Unit: "web.service", Slice: "system.slice"}},
		// systemd-nspawn and LXC.
		{`/machine.slice/machine-deb\x2d12.scope/payload/system.slice`, Place{ID: "deb-12", Runtime: Nspawn, Unit: `machine-deb\x2d12.scope`, Slice: "machine.slice"}},
		{"/machine.slice/systemd-nspawn@web.service/payload", Place{ID: "web", Runtime: Nspawn, Unit: "systemd-nspawn@web.service", Slice: "machine.slice"}},
		{"/machine.slice/systemd-nspawn@web.service/supervisor", Place{Unit: "systemd-nspawn@web.service", Slice: "machine.slice"}},
		{`/machine.slice/machine-deb.scope/payload/machine.slice/systemd-nspawn@in\x2dner.service/payload/init.scope`,
			Place{ID: "in-ner", Runtime: Nspawn, Unit: "machine-deb.scope", Slice: "machine.slice"}},
		{`/machine.slice/machine-deb.scope/payload/machine.slice/systemd-nspawn@inner.service/supervisor`,
			Place{ID: "deb", Runtime: Nspawn, Unit: "machine-deb.scope", Slice: "machine.slice"}},
		{`/machine.slice/machine-qemu\x2d1\x2dvm.scope/emulator`, Place{Unit: `machine-qemu\x2d1\x2dvm.scope`, Slice: "machine.slice"}},
		{"/lxc/101/ns/init.scope", Place{ID: "101", Runtime: LXC}},
		{"/lxc.payload.web/system.slice/cron.service", Place{ID: "web", Runtime: LXC}},
		{"/lxc.payload/web", Place{ID: "web", Runtime: LXC}},
		{"/lxc/web.slice/init.scope", Place{ID: "web.slice", Runtime: LXC}},
		{"/lxc.payload.web.service/init.scope", Place{ID: "web.service", Runtime: LXC}},
		{"/lxc.payload.outer/lxc.payload.inner/user.slice", Place{ID: "inner", Runtime: LXC}},
		{"/lxc.payload.outer/lxc.monitor.inner", Place{ID: "outer", Runtime: LXC}},
		{"/lxc.payload.web/system.slice/docker-ID.scope", Place{ID: id, Runtime: Docker}},
		{"/user.slice/user-1000.slice/session-2.scope/lxc.payload.web/.lxc", Place{ID: "web", Runtime: LXC, Unit: "session-2.scope", Slice: "user-1000.slice"}},
		{"/lxc.monitor.web", Place{}},
		{"/lxc.monitor/web", Place{}},
		// No container.
		{"/", Place{}},
		{"", Place{}},
		{"/init.scope", Place{Unit: "init.scope"}},
		{"/system.slice/ssh.service", Place{Unit: "ssh.service", Slice: "system.slice"}},
		{"/user.slice/user-1000.slice/session-3.scope", Place{Unit: "session-3.scope", Slice: "user-1000.slice"}},
		{"/user.slice/user-1000.slice/user@1000.service/app.slice/app-term.scope", Place{Unit: "app-term.scope", Slice: "app.slice"}},
		{"/user.slice/user-1000.slice/user@1000.service/app.slice", Place{Slice: "app.slice"}},
		{"/user.slice/user-1000.slice/user@1000.service/app.slice/run-r0123456789abcdef0123456789abcdef.scope", Place{Unit: "run-r0123456789abcdef0123456789abcdef.scope", Slice: "app.slice"}},
		{"/user.slice/user-1000.slice/user@1000.service/app.slice/snap.firefox.firefox-0a1b2c3d-1111-2222-3333-444455556666.scope",
			Place{Unit: "snap.firefox.firefox-0a1b2c3d-1111-2222-3333-444455556666.scope", Slice: "app.slice"}},
		{"/user.slice/user-1000.slice/user@1000.service/app.slice/app-flatpak-org.mozilla.firefox-4711.scope", Place{Unit: "app-flatpak-org.mozilla.firefox-4711.scope", Slice: "app.slice"}},
		{"/user.slice/user-1000.slice/user@1000.service/app.slice/app-org.gnome.Terminal.slice/vte-spawn-0a1b2c3d-1111-2222-3333-444455556666.scope",
			Place{Unit: "vte-spawn-0a1b2c3d-1111-2222-3333-444455556666.scope", Slice: "app-org.gnome.Terminal.slice"}},
		{"/system.slice/system-getty.slice/getty@tty1.service", Place{Unit: "getty@tty1.service", Slice: "system-getty.slice"}},
		{"/system.slice/snap.lxd.daemon.service", Place{Unit: "snap.lxd.daemon.service", Slice: "system.slice"}},
		// An id that was cut is none, and neither is what only looks like one.
		{"/docker/0123456789ab", Place{}},
		{"/system.slice/docker-0123456789ab.scope", Place{Unit: "docker-0123456789ab.scope", Slice: "system.slice"}},
		{"/system.slice/docker-IDff.scope", Place{Unit: "docker-IDff.scope", Slice: "system.slice"}},
		{"/build/" + strings.Repeat("g", 64), Place{}},
	} {
		fill := strings.NewReplacer("UNDER", under, "UID", uid, "ID", id, "TWO", two)
		c.want.Unit, c.want.Slice = fill.Replace(c.want.Unit), fill.Replace(c.want.Slice)
		var memory Places
		for range 2 {
			if got := memory.Locate(fill.Replace(c.path)); got != c.want {
				t.Errorf("%s:\n%+v, want\n%+v", c.path, got, c.want)
			}
		}
	}
}

func TestPlacesAreBounded(t *testing.T) {
	var p Places
	for n := range 3 * maxPlaces {
		p.Locate(strings.Repeat("/", n%7) + string(rune('a'+n)))
		if len(p.known) > maxPlaces {
			t.Fatalf("%d paths are remembered", len(p.known))
		}
	}
}

func FuzzLocate(f *testing.F) {
	f.Add("/system.slice/docker-x.scope:y:z/podq")
	f.Fuzz(func(t *testing.T, path string) {
		if p := locate(path); p.Runtime != Nspawn && p.Runtime != LXC && p.ID != "" && !isID(p.ID) {
			t.Errorf("%q has the id %q", path, p.ID)
		}
	})
}
