package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/module"
	"github.com/taskwatch/taskwatch/module/sign"
)

func newModuleSign() *cobra.Command {
	var key keyFlags
	cmd := &cobra.Command{
		Use:               "sign --key FILE MODULE...",
		Short:             "Sign modules",
		ValidArgsFunction: completeModuleFiles,
		Long: `sign writes the signature of each module into MODULE.minisig, in the format of
minisign: 'minisign -G' makes the key, and 'minisign -V' checks the signature.
It covers the module's content, its name, which is that of the file, and its
version.

If the key has a password, sign asks for it on the terminal, or reads it from
the first line of a file.`,
		Example: `  taskwatch module sign --key team.key count.o
  taskwatch module verify --trust team.pub count.o
  sudo taskwatch watch --trust team.pub -m count.o`,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) == 0:
				return usage(errors.New("no module given: taskwatch module sign --key FILE MODULE..."))
			case key.key == "":
				return usage(errors.New("no key given: --key FILE names one that 'minisign -G' has made"))
			}
			return signModules(cmd, &key, args)
		},
	}
	key.add(cmd)
	return cmd
}

func signModules(cmd *cobra.Command, from *keyFlags, files []string) error {
	key, err := from.read()
	if err != nil {
		return err
	}
	for _, file := range files {
		b, err := readModule(file)
		if err != nil {
			return moduleFailed(err)
		}
		m, err := parseBytes(file, b)
		if err != nil {
			return moduleFailed(err)
		}
		d := m.describe()
		if err := m.Close(); err != nil {
			return moduleFailed(err)
		}
		if err := os.WriteFile(file+sign.Suffix, sign.Sign(key, b, d.Name, d.Version), 0o644); err != nil {
			return moduleFailed(fmt.Errorf("module %q: %w", file, err))
		}
		if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s: signed by %016X\n", file+sign.Suffix, key.ID()); err != nil {
			return moduleFailed(err)
		}
	}
	return nil
}

// readPassword reads a line of a file, or one that is typed and not shown.
func readPassword(file string) (string, error) {
	if file != "" {
		f, err := os.Open(file)
		if err != nil {
			return "", err
		}
		defer f.Close()
		return firstLine(f)
	}
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return "", errors.New("there is no terminal to ask for it; give --password-file")
	}
	defer tty.Close()
	fd := int(tty.Fd())
	was, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return "", err
	}
	silent := *was
	silent.Lflag &^= unix.ECHO
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &silent); err != nil {
		return "", err
	}
	defer func() {
		_ = unix.IoctlSetTermios(fd, unix.TCSETS, was)
		fmt.Fprintln(tty)
	}()
	fmt.Fprint(tty, "password: ")
	return firstLine(tty)
}

func firstLine(f *os.File) (string, error) {
	line, err := bufio.NewReader(f).ReadString('\n')
	if err != nil && line == "" {
		return "", err
	}
	return strings.TrimRight(line, "\r\n"), nil
}

func newModuleVerify() *cobra.Command {
	var keys []string
	cmd := &cobra.Command{
		Use:               "verify --trust FILE MODULE...",
		Short:             "Verify the signatures of modules",
		ValidArgsFunction: completeModuleFiles,
		Long: `verify checks that each module is the one that a key has signed, under its name
and version, as 'watch', 'run' and 'serve' do with --trust. A file that is the
same as one of the stock modules needs no signature. No part of a module runs
before its signature has been checked. The exit status is 0 if all are good, and
1 if not.`,
		Example: "  taskwatch module verify --trust team.pub count.o",
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) == 0:
				return usage(errors.New("no module given: taskwatch module verify --trust FILE MODULE..."))
			case len(keys) == 0:
				return usage(errors.New("no key given: --trust FILE names a public key"))
			}
			trusted, err := sign.ReadKeys(keys...)
			if err != nil {
				return moduleFailed(err)
			}
			failed := false
			for _, file := range args {
				line, err := verified(trusted, file)
				if err != nil {
					say("%v", err)
					failed = true
					continue
				}
				if _, err := fmt.Fprintln(cmd.OutOrStdout(), line); err != nil {
					return moduleFailed(err)
				}
			}
			if failed {
				return ended(exitFailed)
			}
			return nil
		},
	}
	cmd.Flags().StringArrayVar(&keys, "trust", nil, "the `FILE` of a public key; may be given several times")
	return cmd
}

// verified says in a line why a file can be trusted.
func verified(keys *sign.Keys, file string) (line string, err error) {
	b, err := readModule(file)
	if err != nil {
		return "", err
	}
	signer, err := verifyFile(keys, file, b)
	if err != nil {
		return "", err
	}
	m, err := parseTrusted(keys, file)
	if err != nil {
		return "", err
	}
	trusted := "a stock module of this taskwatch"
	if signer != nil {
		trusted = "signed by " + signer.ID
	}
	return fmt.Sprintf("%s: module %s, %s", file, module.NameOf(file), trusted), m.Close()
}
