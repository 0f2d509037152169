package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/taskwatch/taskwatch/daemon"
	"github.com/taskwatch/taskwatch/daemon/api"
	"github.com/taskwatch/taskwatch/module"
)

func newModinfo() *cobra.Command {
	var socket string
	cmd := newModuleInfo("modinfo")
	cmd.Use = "modinfo FILE|NAME"
	cmd.Short = "Show what a module is, and what one that is loaded does"
	cmd.Long = `modinfo shows what a module file says about itself, like 'taskwatch module
info'. If there is no file with that name, it asks the daemon for the loaded
module with that name. It then also shows the current values of the module's
parameters and global variables, and what its watchers have done. If no such
module is loaded, the name may be that of a stock module: see 'taskwatch module
list'.`
	cmd.Example = "  taskwatch modinfo count.o\n  taskwatch modinfo count\n  taskwatch modinfo -f json count"
	cmd.Args = oneFile("FILE|NAME")
	cmd.ValidArgsFunction = completeModules(&socket)
	addSocket(cmd, &socket)
	ofFile := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		_, err := os.Stat(args[0])
		if module.CheckName(args[0]) != nil || !errors.Is(err, fs.ErrNotExist) {
			return ofFile(cmd, args)
		}
		format, err := cmd.Flags().GetString("format")
		if err != nil {
			return err
		}
		if err := checkFormat(format); err != nil {
			return &exitError{status: exitUsage, err: err}
		}
		c := daemon.NewClient(socket)
		defer c.Close()
		info, err := askModule(cmd.Context(), c, args[0])
		if err != nil && stockModule(args[0]) != nil {
			return ofFile(cmd, args)
		}
		if err != nil {
			return moduleFailed(fmt.Errorf("there is no file %s, no stock module of that name, and no such module: %w", args[0], c.Explain(err)))
		}
		return show(cmd, format, info)
	}
	return cmd
}

// loadedDescription is what modinfo shows of a module that is loaded.
type loadedDescription struct {
	listedModule
	Loaded      string          `json:"loaded"`
	SHA256      string          `json:"sha256"`
	Description string          `json:"description,omitempty"`
	Author      string          `json:"author,omitempty"`
	Version     string          `json:"version,omitempty"`
	License     string          `json:"license"`
	Watchers    []loadedWatcher `json:"watchers"`
	Veto        []string        `json:"veto"`
	Params      []loadedParam   `json:"params"`
	Maps        mapTable        `json:"maps"`
	Globals     []loadedGlobal  `json:"globals"`
	Unread      string          `json:"globals_unread,omitempty"` // why there are none
}

type loadedWatcher struct {
	Event    string  `json:"event"`
	Function string  `json:"function"`
	Calls    *uint64 `json:"calls"`
	Errors   uint64  `json:"errors"`
	Vetoes   uint64  `json:"vetoes"`
	MeanNS   *uint64 `json:"mean_ns"` // of a call
	P99NS    *uint64 `json:"p99_ns"`
}

type loadedParam struct {
	Name        string          `json:"name"`
	Type        string          `json:"type"`
	Value       json.RawMessage `json:"value"`
	Default     json.RawMessage `json:"default"`
	Description string          `json:"description,omitempty"`
}

type loadedGlobal struct {
	Name  string          `json:"name"`
	Type  string          `json:"type"`
	Value json.RawMessage `json:"value"`
}

// askModule asks the daemon for everything about a module.
func askModule(ctx context.Context, c *daemon.Client, name string) (*loadedDescription, error) {
	info, err := c.Info(ctx, connect.NewRequest(&api.InfoRequest{Name: name}))
	if err != nil {
		return nil, err
	}
	stats, err := c.Stats(ctx, connect.NewRequest(&api.StatsRequest{Name: name}))
	if err != nil {
		return nil, err
	}
	globals, err := c.Globals(ctx, connect.NewRequest(&api.GlobalsRequest{Name: name}))
	unread := ""
	if connect.CodeOf(err) == connect.CodeResourceExhausted { // they are too large
		globals, unread, err = connect.NewResponse(&api.GlobalsResponse{}), err.Error(), nil
	}
	if err != nil {
		return nil, err
	}
	m := info.Msg
	d := &loadedDescription{
		listedModule: listed([]*api.Module{stats.Msg.Module})[0],
		Loaded:       m.Loaded, SHA256: m.Sha256,
		Description: m.Description, Author: m.Author, Version: m.Version, License: m.License,
		Watchers: []loadedWatcher{}, Veto: append([]string{}, m.Veto...), Params: []loadedParam{}, Globals: []loadedGlobal{},
		Maps: listedMaps(m.Maps), Unread: unread,
	}
	for _, w := range stats.Msg.Watchers {
		l := loadedWatcher{Event: w.Watcher.Event, Function: w.Watcher.Function, Errors: w.Calls.Errors, Vetoes: w.Calls.Vetoes}
		if w.Calls.Timed {
			l.Calls = &w.Calls.Calls
			if w.Calls.MeanNs > 0 { // in the sandbox, only that of the module is measured
				l.MeanNS, l.P99NS = &w.Calls.MeanNs, &w.Calls.P99Ns
			}
		}
		d.Watchers = append(d.Watchers, l)
	}
	for _, p := range m.Params {
		d.Params = append(d.Params, loadedParam{
			Name: p.Name, Type: p.Type, Value: json.RawMessage(p.Value), Default: json.RawMessage(p.Default), Description: p.Description,
		})
	}
	for _, g := range globals.Msg.Globals {
		d.Globals = append(d.Globals, loadedGlobal{g.Name, g.Type, json.RawMessage(g.Value)})
	}
	return d, nil
}

// write writes the description a fact a line, like modinfo(8).
func (d *loadedDescription) write(w io.Writer) error {
	var b strings.Builder
	line := factLines(&b)
	line("name", "%s", d.Name)
	line("kind", "%s", d.Kind)
	line("state", "%s", d.State)
	for _, f := range [][2]string{
		{"reason", d.Reason}, {"description", d.Description}, {"author", d.Author}, {"version", d.Version}, {"license", d.License},
		{"loaded", d.Loaded}, {"origin", d.Origin}, {"signer", d.Signer}, {"sha256", d.SHA256},
	} {
		if f[1] != "" {
			line(f[0], "%s", f[1])
		}
	}
	for _, l := range d.Watchers {
		calls := ""
		if l.Calls != nil {
			calls = plural(int(*l.Calls), "call", "calls")
			if l.MeanNS != nil {
				calls += fmt.Sprintf(" of %v on average", time.Duration(*l.MeanNS))
			}
			calls += ", "
		}
		line("watcher", "%s: %s (%s%s)", l.Event, l.Function, calls, plural(int(l.Errors), "error", "errors"))
	}
	if len(d.Veto) > 0 {
		line("veto", "%s", strings.Join(d.Veto, ", "))
	}
	if len(d.Powers) > 0 {
		line("powers", "%s", strings.Join(d.Powers, ", "))
	}
	for _, p := range d.Params {
		text := fmt.Sprintf("%s = %s (%s, default %s)", p.Name, p.Value, p.Type, p.Default)
		if p.Description != "" {
			text += ": " + p.Description
		}
		line("param", "%s", text)
	}
	mapLines(line, d.Maps)
	if d.Unread != "" {
		line("globals", "%s", d.Unread)
	}
	for _, g := range d.Globals {
		line("global", "%s = %s (%s)", g.Name, g.Value, g.Type)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
