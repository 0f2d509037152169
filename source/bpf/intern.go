package bpf

// interner keeps one copy of each of the strings that come again and again:
// paths and names of programs.
type interner map[string]string

const maxInterned = 4096

func (in *interner) get(b []byte) string {
	if s, ok := (*in)[string(b)]; ok { // does not allocate
		return s
	}
	if len(*in) >= maxInterned {
		*in = make(interner)
	}
	s := string(b)
	(*in)[s] = s
	return s
}
