package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/taskwatch/taskwatch/daemon"
	"github.com/taskwatch/taskwatch/module"
	"github.com/taskwatch/taskwatch/module/sign"
	stock "github.com/taskwatch/taskwatch/modules"
)

// trustFlags are the flags of the commands that may ask for signatures.
type trustFlags struct {
	keys     []string
	required bool
}

func (f *trustFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&f.keys, "trust", nil, "load only modules that are signed with the public key in this `FILE`;\nmay be given several times")
	cmd.Flags().BoolVar(&f.required, "require-signature", false, "load no module without a trusted signature, even if\nno key is given")
	if err := cmd.MarkFlagFilename("trust", "pub"); err != nil {
		panic(err) // no such flag
	}
}

// read returns the keys, or nil where no signatures are asked for.
func (f *trustFlags) read() (*sign.Keys, error) {
	keys, err := (&daemon.Trust{Keys: f.keys, Required: f.required}).Read()
	if err != nil {
		return nil, fmt.Errorf("--trust: %w", err)
	}
	return keys, nil
}

// verifyFile returns the signer of a module's file, by the signature beside it.
// Without keys it is nil.
func verifyFile(keys *sign.Keys, file string, b []byte) (*sign.Signer, error) {
	if keys == nil || stock.IsStock(b) { // which is a part of this program
		return nil, nil
	}
	signature, err := sign.ReadSignature(file)
	var signer *sign.Signer
	if err == nil {
		signer, err = keys.Verify(b, signature, module.NameOf(file))
	}
	if errors.Is(err, sign.ErrUnsigned) {
		err = fmt.Errorf("%w: there is no %s; 'taskwatch module sign' makes one", err, file+sign.Suffix)
	}
	if err != nil {
		return nil, fmt.Errorf("module %q: %w", file, err)
	}
	return signer, nil
}

// parseTrusted is like parseModule, for a file whose signature has to be
// trusted. Nothing of the file is run before that is known.
func parseTrusted(keys *sign.Keys, file string) (*moduleFile, error) {
	b, err := readModule(file)
	if err != nil {
		return nil, err
	}
	signer, err := verifyFile(keys, file, b)
	if err != nil {
		return nil, err
	}
	m, err := parseBytes(file, b)
	if err != nil {
		return nil, err
	}
	if err := signer.CheckVersion(m.describe().Version); err != nil {
		return nil, errors.Join(fmt.Errorf("module %q: %w", file, err), m.Close())
	}
	return m, nil
}
