package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/taskwatch/taskwatch/daemon"
	"github.com/taskwatch/taskwatch/daemon/api"
	"github.com/taskwatch/taskwatch/internal/clean"
	"github.com/taskwatch/taskwatch/module/host"
)

// mapActions are what can be done with a map, with the number of arguments that
// each takes.
var mapActions = map[string]int{"dump": 0, "get": 1, "set": 2, "delete": 1}

func newMap() *cobra.Command {
	var socket, format string
	var pid int
	cmd := &cobra.Command{
		Use:   "map NAME [MAP [dump | get KEY | set KEY VALUE | delete KEY]]",
		Short: "Read and change the maps of a module",
		Long: `map reads and changes the maps of a module that the daemon has loaded: in the
kernel its BPF maps, in the sandbox what it keeps of each task (task_storage) or
process (process_storage); in Go, where such a storage has a name. Without a MAP
it lists the maps; dump, which shows all entries, is what it does without
another word.

Keys and values are JSON, as the types of the module's source have it: numbers,
text for arrays of char, lists, objects for structs. Words and numbers like
0x10 need no quotes. A value of a struct may leave members out: set makes them
zero. A map with a value for each processor has a list of them, and cannot be
set. The key of task storage is the tid of a task, that of process storage the
id of a process, or --pid gives it; without another word, the entry of that task
is shown.

At most 10,000 entries and 1 MiB are shown, and a line on standard error says
if there are more. An entry that is written meanwhile may be torn.

Who may read the daemon's modules may read maps; set and delete need the right
to load modules. The exit status is 1 if there is no such module, map or entry.`,
		Example: `  taskwatch map acct
  taskwatch map acct users
  taskwatch map acct users get 1000
  taskwatch map acct users -f json
  sudo taskwatch map acct users delete 1000`,
		Args:              cobra.RangeArgs(1, 5),
		ValidArgsFunction: completeModules(&socket),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkFormat(format); err != nil {
				return &exitError{status: exitUsage, err: err}
			}
			one := cmd.Flags().Changed("pid")
			switch {
			case one && len(args) == 2:
				args = append(args, "get", strconv.Itoa(pid))
			case one && (len(args) == 1 || args[2] == "dump"):
				return usage(errors.New("--pid is the key of an entry: give a map, and get, set or delete"))
			case one:
				args = slices.Insert(args, 3, strconv.Itoa(pid))
			case len(args) == 2:
				args = append(args, "dump")
			}
			c := daemon.NewClient(socket)
			defer c.Close()
			if len(args) == 1 {
				return listMaps(cmd, c, format, args[0])
			}
			n, known := mapActions[args[2]]
			switch {
			case !known:
				return usage(fmt.Errorf("%q is nothing that can be done with a map; give dump, get, set or delete", args[2]))
			case len(args)-3 != n:
				return usage(fmt.Errorf("%s takes %s, and %d were given", args[2], []string{"no argument", "a key", "a key and a value"}[n], len(args)-3))
			}
			return useMap(cmd, c, format, args[0], args[1], args[2], args[3:])
		},
	}
	addSocket(cmd, &socket)
	addFormat(cmd, &format)
	cmd.Flags().IntVar(&pid, "pid", 0, "the `tid` that is the key, in storage of tasks and processes")
	return cmd
}

// mapTable is the list of a module's maps.
type mapTable []host.Map

func (list mapTable) write(w io.Writer) error {
	for _, m := range list {
		if _, err := fmt.Fprintf(w, "%s (%s, %s; a key has %d bytes, a value %d)\n", m.Name, m.Type, entriesOf(&m), m.KeySize, m.ValueSize); err != nil {
			return err
		}
	}
	return nil
}

// mapLines writes the maps among the facts of a module.
func mapLines(line func(name, format string, args ...any), maps []host.Map) {
	for _, m := range maps {
		shared := ""
		if m.Shared {
			shared = ", shared"
		}
		line("map", "%s (%s, %s%s)", m.Name, m.Type, entriesOf(&m), shared)
	}
}

// entriesOf says how many entries a map has room for.
func entriesOf(m *host.Map) string {
	if m.MaxEntries == 0 { // task storage, and the like
		return "entries without a limit"
	}
	return plural(int(m.MaxEntries), "entry", "entries")
}

// listedMaps are the maps in an answer.
func listedMaps(list []*api.MapInfo) mapTable {
	out := mapTable{}
	for _, m := range list {
		out = append(out, host.Map{Name: m.Name, Type: m.Type, KeySize: m.KeySize, ValueSize: m.ValueSize, MaxEntries: m.MaxEntries, Shared: m.Shared})
	}
	return out
}

func listMaps(cmd *cobra.Command, c *daemon.Client, format, name string) error {
	r, err := c.Info(cmd.Context(), connect.NewRequest(&api.InfoRequest{Name: name}))
	if err != nil {
		return errDaemon(c, err)
	}
	return show(cmd, format, listedMaps(r.Msg.Maps))
}

// mapDump is what map shows of a map.
type mapDump struct {
	Map     string     `json:"map"`
	Entries []mapEntry `json:"entries"`
	More    bool       `json:"more"`
}

type mapEntry struct {
	Key   json.RawMessage `json:"key"`
	Value json.RawMessage `json:"value"`
}

func (d *mapDump) write(w io.Writer) error {
	var b strings.Builder
	for _, e := range d.Entries {
		fmt.Fprintf(&b, "%s = %s\n", clean.Text(string(e.Key)), clean.Text(string(e.Value)))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// useMap does what is to be done with a map.
func useMap(cmd *cobra.Command, c *daemon.Client, format, name, mapName, action string, args []string) error {
	ctx := cmd.Context()
	switch action {
	case "set":
		_, err := c.SetMapEntry(ctx, connect.NewRequest(&api.SetMapEntryRequest{Name: name, Map: mapName, Key: args[0], Value: args[1]}))
		return errDaemon(c, err)
	case "delete":
		_, err := c.DeleteMapEntry(ctx, connect.NewRequest(&api.DeleteMapEntryRequest{Name: name, Map: mapName, Key: args[0]}))
		return errDaemon(c, err)
	}
	r := &api.MapRequest{Name: name, Map: mapName}
	if action == "get" {
		r.Key = &args[0]
	}
	answer, err := c.Map(ctx, connect.NewRequest(r))
	if err != nil {
		return errDaemon(c, err)
	}
	d := &mapDump{Map: mapName, Entries: []mapEntry{}, More: answer.Msg.More}
	for _, e := range answer.Msg.Entries {
		d.Entries = append(d.Entries, mapEntry{json.RawMessage(e.Key), json.RawMessage(e.Value)})
	}
	if d.More {
		fmt.Fprintf(cmd.ErrOrStderr(), "taskwatch: map %s has more entries than the %d that are shown; 'get' reads one\n", mapName, len(d.Entries))
	}
	return show(cmd, format, d)
}
