package features

// The features.
var (
	BTF = &Feature{Name: "kernel BTF", Use: "BPF programs that fit any kernel", probe: probeBTF}
	BPF = &Feature{Name: "BPF", Use: "the bpf source and kernel modules", probe: probeBPF}

	RingBuffer = &Feature{Name: "BPF ring buffer", Use: "events of the bpf source", probe: probeRingBuffer}
	TaskIter   = &Feature{Name: "BPF task iterator", Use: "tasks that ran before the bpf source", probe: probeTaskIter}

	ReadKernel    = &Feature{Name: "BPF that reads kernel memory", Use: "the fields of every event", probe: probeReadKernel}
	TracepointBTF = &Feature{Name: "BPF on tracepoints (tp_btf)", Use: "observing every event", probe: probeTracepoint}
	Fentry        = &Feature{Name: "BPF on functions (fentry)", Use: "observing free where the tracepoint is not enough", probe: probeFentry}
	FmodRet       = &Feature{Name: "BPF that changes results (fmod_ret)", Use: "vetoes where the BPF security module is off", probe: probeFmodRet}
	LSM           = &Feature{Name: "BPF security module (lsm)", Use: "vetoes", probe: probeLSM}

	Connector = &Feature{Name: "process connector", Use: "the connector source", probe: probeConnector}
	Ptrace    = &Feature{Name: "ptrace", Use: "the ptrace source", probe: probePtrace}
	Seccomp   = &Feature{Name: "seccomp filters", Use: "set-id events and vetoes of the ptrace source", probe: probeSeccomp}
)

// All returns all features, in the order in which to show them.
func All() []*Feature {
	return []*Feature{BTF, BPF, RingBuffer, TaskIter, ReadKernel, TracepointBTF, Fentry, FmodRet, LSM, Connector, Ptrace, Seccomp}
}
