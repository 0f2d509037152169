package vm

import (
	"slices"
	"testing"
)

func TestClosure(t *testing.T) {
	const depends = `dash:arm64
  PreDepends: libc6:arm64
  Depends: debianutils:arm64
    debianutils
 |Depends: <shell:arm64>
    ksh:arm64
    mksh:arm64
  Depends: zsh:arm64
  Depends: dpkg:arm64
    dpkg
libc6:arm64
  Depends: libgcc-s1:arm64
dpkg:arm64
  PreDepends: libbz2-1.0:arm64
libgcc-s1:arm64
  Depends: gcc-12-base:arm64
  Depends: libc6:arm64
libbz2-1.0:arm64
  Depends: libc6:arm64
ksh:arm64
 |Depends: libx:arm64
  Depends: liby:arm64
  Depends: libz:arm64
`
	for _, c := range []struct {
		wanted, want []string
	}{
		// dpkg is for configuring, so what only it needs is not needed.
		{[]string{"dash:arm64"}, []string{"dash:arm64", "libc6:arm64", "libgcc-s1:arm64", "ksh:arm64", "libx:arm64", "libz:arm64"}},
		{[]string{"libc6:arm64", "libbz2-1.0:arm64"}, []string{"libc6:arm64", "libgcc-s1:arm64", "libbz2-1.0:arm64"}},
		{[]string{"unknown"}, []string{"unknown"}},
	} {
		if got := closure(depends, c.wanted); !slices.Equal(got, c.want) {
			t.Errorf("%q need %q, want %q", c.wanted, got, c.want)
		}
	}
}
