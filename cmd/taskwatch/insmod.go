package main

import (
	"fmt"
	"os"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/taskwatch/taskwatch/daemon"
	"github.com/taskwatch/taskwatch/daemon/api"
	"github.com/taskwatch/taskwatch/module"
	"github.com/taskwatch/taskwatch/module/host"
	"github.com/taskwatch/taskwatch/module/sign"
	stock "github.com/taskwatch/taskwatch/modules"
)

// addSocket adds the flag of all commands that talk to the daemon.
func addSocket(cmd *cobra.Command, socket *string) {
	cmd.Flags().StringVar(socket, "socket", daemon.DefaultSocket, "the `path` where the daemon serves")
}

func newInsmod() *cobra.Command {
	var socket, name string
	var observeOnly, bestEffort, replace bool
	cmd := &cobra.Command{
		Use:   "insmod FILE|NAME [key=value...]",
		Short: "Load a module into the daemon",
		Long: `insmod asks the daemon ('taskwatch serve') to load and register a module with
these parameters. Its watchers are called for every event that happens after
insmod has ended. insmod itself reads the file, and its signature FILE.minisig
if there is one, so the daemon need not be able to reach them. If there is no
file of that name, NAME is one of the stock modules of 'taskwatch module list'.

MAP=@FILE gives a map of a module for the kernel its first entries: lines of the
form {"key":1000,"value":5}. With --replace, such a map is not kept.

With --replace, the module takes the place of the one that has its name, if
there is one. Each event meets one of the two. A module for the kernel keeps the
maps and variables that have the same layout in both. Others are copied, as far
as they mean the same, without what changes meanwhile: insmod names them, and
those that begin anew. A module in the sandbox begins anew. If the new module
cannot be loaded, the old one continues.

The exit status is 0 if the module was loaded, and 1 if it was not.`,
		Example: `  sudo taskwatch insmod count.o
  sudo taskwatch insmod count.o uid=1000
  sudo taskwatch insmod --name count2 count.o
  sudo taskwatch insmod --replace count.o uid=0
  sudo taskwatch insmod limits.o rates=@rates.jsonl
  sudo taskwatch insmod acct`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: completeModuleFile,
		RunE: func(cmd *cobra.Command, args []string) error {
			params, err := module.ParseParams(args[1:])
			if err != nil {
				return usage(err)
			}
			b, err := readModule(args[0])
			if err != nil {
				return moduleFailed(err)
			}
			var signature []byte
			if !stock.IsStock(b) {
				signature, err = sign.ReadSignature(args[0])
			}
			if err != nil {
				return moduleFailed(fmt.Errorf("module %q: its signature: %w", args[0], err))
			}
			params, contents, err := host.SplitContents(b, params, os.ReadFile)
			if err != nil {
				return moduleFailed(fmt.Errorf("module %q: %w", args[0], err))
			}
			if name == "" {
				name = module.NameOf(args[0])
			}
			c := daemon.NewClient(socket)
			defer c.Close()
			r, err := c.Load(cmd.Context(), connect.NewRequest(&api.LoadRequest{
				Name: name, File: b, Params: params, Contents: contents, AllowObserveOnly: observeOnly, AllowBestEffort: bestEffort, Signature: signature, Replace: replace,
			}))
			if err != nil {
				return errDaemon(c, err)
			}
			sayLeft(name, r.Msg)
			return nil
		},
	}
	addSocket(cmd, &socket)
	cmd.Flags().StringVar(&name, "name", "", "load it under this `name` (default the name of the file, up to the dot)")
	cmd.Flags().BoolVar(&replace, "replace", false, "take the place of the module that has this name")
	addBestEffort(cmd, &bestEffort)
	cmd.Flags().BoolVar(&observeOnly, "allow-observe-only", false, "load a module that asks for a veto even if\nnothing can be denied here")
	return cmd
}

// sayLeft says what a module has not kept of the one that it has replaced.
func sayLeft(name string, r *api.LoadResponse) {
	lacks, lost := "without what changed meanwhile", ""
	if r.Module.Kind == host.Sandbox {
		lacks, lost = "as far as its type lets values mean the same", ", or was lost with a crash,"
	}
	for _, m := range r.FreshMaps {
		say("%s: the map %s has another layout now%s and begins empty", name, m, lost)
	}
	for _, v := range r.FreshVariables {
		say("%s: the variable %s has another type now%s and begins anew", name, v, lost)
	}
	for _, c := range r.Copied {
		left := ""
		if c.LeftOut > 0 {
			left = fmt.Sprintf("; entries that it has no room for: %d", c.LeftOut)
		}
		say("%s: %s has another layout now and was copied, %s%s", name, c.Name, lacks, left)
	}
}

// completeModuleFile completes a module as the first argument, the name of a
// stock module that was begun or else a file; what follows are parameters.
func completeModuleFile(_ *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	if names := completeStock(begun); begun != "" && len(names) > 0 {
		return names, cobra.ShellCompDirectiveNoFileComp
	}
	return completeModuleFiles(nil, args, "")
}

func completeModuleFiles(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return []string{"o", "wasm"}, cobra.ShellCompDirectiveFilterFileExt
}

func newRmmod() *cobra.Command {
	var socket string
	cmd := &cobra.Command{
		Use:   "rmmod NAME...",
		Short: "Unload modules from the daemon",
		Long: `rmmod asks the daemon to unregister modules and free them. When it has ended, no
part of them runs any more. If one module cannot be unloaded, rmmod continues
with the next.

The exit status is 0 if all were unloaded, and 1 if not.`,
		Example:           "  sudo taskwatch rmmod count",
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: completeModules(&socket),
		RunE: func(cmd *cobra.Command, args []string) error {
			c := daemon.NewClient(socket)
			defer c.Close()
			failed := false
			for _, name := range args {
				_, err := c.Unload(cmd.Context(), connect.NewRequest(&api.UnloadRequest{Name: name}))
				if err != nil {
					say("%v", c.Explain(err))
					failed = true
				}
			}
			if failed {
				return ended(exitFailed)
			}
			return nil
		},
	}
	addSocket(cmd, &socket)
	return cmd
}

// completeModules completes the names of the modules that the daemon has.
func completeModules(socket *string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		c := daemon.NewClient(*socket)
		defer c.Close()
		r, err := c.List(cmd.Context(), connect.NewRequest(&api.ListRequest{}))
		if err != nil {
			return nil, cobra.ShellCompDirectiveDefault // files: modinfo takes them, too
		}
		var names []string
		for _, m := range r.Msg.Modules {
			names = append(names, m.Name)
		}
		return names, cobra.ShellCompDirectiveDefault
	}
}
