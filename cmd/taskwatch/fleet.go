package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"aead.dev/minisign"
	"github.com/spf13/cobra"

	"github.com/taskwatch/taskwatch/fleet"
	"github.com/taskwatch/taskwatch/fleet/operator"
	"github.com/taskwatch/taskwatch/module/sign"
)

func newFleet() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "fleet",
		Short: "Load modules on many machines, and ask all of them",
		Long: `fleet is for machines whose daemons have joined a hub ('taskwatch-hub'): see
docs/fleet.md. The first use needs the address of the hub, with --hub, and a
token that 'taskwatch-hub enroll --role reader' or '--role loader' has printed,
with --hub-token. Both are kept in the directory of --hub-dir, with a key that
the token is for from then on.`,
	}
	cmd.AddCommand(newFleetNodes(), newFleetInsmod(), newFleetRmmod(), newFleetLsmod(), newFleetWatch(), newFleetReplay(), newFleetRecordings(), newFleetAudit())
	return cmd
}

// hubFlags say which hub, and as whom.
type hubFlags struct {
	hub, token, dir string
}

func (f *hubFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.hub, "hub", "", "the `address` of the hub: tls://HOST:4222")
	flags.StringVar(&f.token, "hub-token", "", "enroll with the token in this `file`")
	flags.StringVar(&f.dir, "hub-dir", "", "keep the key in this `directory` (default taskwatch/fleet below that for\nconfigurations of the user)")
	if err := errors.Join(cmd.MarkFlagFilename("hub-token"), cmd.MarkFlagDirname("hub-dir")); err != nil {
		panic(err) // no such flag
	}
	complete(cmd, "hub", cobra.NoFileCompletions)
}

// dial connects to the hub. The caller closes the connection.
func (f *hubFlags) dial() (*operator.Conn, error) {
	dir := f.dir
	if dir == "" {
		config, err := os.UserConfigDir()
		if err != nil {
			return nil, serveFailed(fmt.Errorf("%w; give a directory with --hub-dir", err))
		}
		dir = filepath.Join(config, "taskwatch", "fleet")
	}
	id, err := fleet.OpenIdentity(dir, f.hub, f.token)
	if err != nil {
		return nil, serveFailed(err)
	}
	name, _ := os.Hostname()
	c, err := id.Dial(fleet.DialOptions{Name: "taskwatch fleet on " + name, OnOutage: func(lost bool) {
		if lost {
			say("the connection to the hub %s is lost, and is tried again", id.URL)
		} else {
			say("the hub is there again")
		}
	}})
	if err != nil {
		return nil, serveFailed(err)
	}
	return &operator.Conn{Conn: c}, nil
}

// keyFlags say what entries are signed with.
type keyFlags struct{ key, passwords string }

func (f *keyFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&f.key, "key", "k", "", "sign with the private key in this `file`")
	cmd.Flags().StringVar(&f.passwords, "password-file", "", "the `file` whose first line is the password of the key")
}

// read returns the private key, and asks for its password where it has one.
func (f *keyFlags) read() (key minisign.PrivateKey, err error) {
	if f.key == "" {
		return key, usage(errors.New("no key given: --key FILE names one that 'minisign -G' has made, and that the nodes trust"))
	}
	encrypted, err := sign.IsEncrypted(f.key)
	if err != nil {
		return key, moduleFailed(err)
	}
	password := ""
	if encrypted {
		if password, err = readPassword(f.passwords); err != nil {
			return key, moduleFailed(fmt.Errorf("the password of %s: %w", f.key, err))
		}
	}
	if key, err = sign.ReadPrivateKey(f.key, password); err != nil {
		return key, moduleFailed(err)
	}
	return key, nil
}
