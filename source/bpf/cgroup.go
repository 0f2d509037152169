package bpf

// maxCgroups bounds the paths that are kept. Those that no task uses go first.
const maxCgroups = 8192

// cgroup keeps the path of a cgroup for the records that follow.
func (st *runner) cgroup(r *record) {
	if len(st.cgroups) >= maxCgroups {
		st.forgetCgroups()
	}
	if r.flags&flagExeCut == 0 {
		st.cgroups[r.cgroup] = r.exePath
	}
}

// forgetCgroups drops the paths of cgroups without tasks, here and in the
// kernel, which will send them again.
func (st *runner) forgetCgroups() {
	used := make(map[uint64]bool)
	for _, e := range st.tasks.byAddr {
		used[e.cgroup] = true
	}
	for id := range st.cgroups {
		if !used[id] {
			delete(st.cgroups, id)
			_ = st.kernel.beside.Maps[streamMapCgroups].Delete(id) // it may have been evicted
		}
	}
	for word := range 2 {
		st.kernel.control.Store(controlNamed+word, 0)
	}
}
