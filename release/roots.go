package main

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"runtime/debug"
	"slices"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// rootsFile is where programs look for the certificates of authorities.
const rootsFile = "/etc/ssl/certs/ca-certificates.crt"

// rootsModule is the Go module that has them.
const rootsModule = "golang.org/x/crypto/x509roots/fallback"

// roots returns the certificates of the authorities that Mozilla trusts for servers. One
// that it trusts with a condition is left out: a file of certificates cannot state it.
func roots() ([]byte, error) {
	info, ok := debug.ReadBuildInfo()
	i := -1
	if ok {
		i = slices.IndexFunc(info.Deps, func(m *debug.Module) bool { return m.Path == rootsModule })
	}
	if i < 0 {
		return nil, fmt.Errorf("the program does not know of which version of %s it is built", rootsModule)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "# Authorities that Mozilla trusts for servers (certdata.txt of NSS, MPL-2.0), from\n# %s %s.\n", rootsModule, info.Deps[i].Version)
	for root := range bundle.Roots() {
		if root.Constraint != nil {
			continue
		}
		if err := pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}
