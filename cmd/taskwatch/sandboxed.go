package main

import (
	"fmt"
	"log/slog"

	"github.com/taskwatch/taskwatch/module/wasm"
	"github.com/taskwatch/taskwatch/source"
	"github.com/taskwatch/taskwatch/source/replay"
)

// addSandboxed loads a module into the sandbox and registers it.
func (mods *modules) addSandboxed(file *moduleFile, src source.Source, f *moduleFlags) error {
	o := file.wasm
	caps := src.Capabilities()
	_, recorded := src.(*replay.Source)
	if powerless := o.Veto &^ caps.VetoKinds(); powerless != 0 && !f.observeOnly && !recorded {
		return fmt.Errorf("module %q: it wants to refuse %s, and with the source %s nobody outside of the kernel can; --allow-observe-only runs it all the same, and refuses nothing",
			o.Name, powerless, src.Name())
	}
	m, err := o.Load(wasm.LoadOptions{
		Params:      file.params,
		Synchronous: recorded, // it can wait
		Log: func(level slog.Level, text string) {
			if level < slog.LevelInfo {
				return
			}
			say("module %s: %s", o.Name, text)
		},
		Feed: mods.reg.Feed(),
	})
	if err != nil {
		return err
	}
	mods.list = append(mods.list, m)
	t := m.Watchers(caps.VetoKinds())
	if err := mods.reg.Register(t); err != nil {
		return err
	}
	mods.user = append(mods.user, t)
	return nil
}
