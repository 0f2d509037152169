package report

import (
	"encoding/hex"
	"strings"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/clean"
)

// verdict says what happened to the operation, and because of whom.
func verdict(f *taskwatch.Failure) string {
	switch {
	case f.Verdict == taskwatch.Denied:
		return " denied by " + watcher(f)
	case f.Verdict == taskwatch.Killed:
		return " killed late by " + watcher(f)
	case f.Verdict == taskwatch.WouldDeny:
		return " would be denied (dry run) by " + watcher(f)
	case f.Crash:
		return ": crash of " + watcher(f)
	}
	return ": error of " + watcher(f)
}

// watcher names the module and the watcher of a failure.
func watcher(f *taskwatch.Failure) string {
	module := "a built-in"
	if f.Module != "" {
		module = clean.Text(f.Module)
	}
	if f.Watcher == "" {
		return module
	}
	return module + " (" + clean.Text(f.Watcher) + ")"
}

// payload returns the bytes from a module in readable form.
func payload(b []byte) string {
	text := strings.TrimRight(string(b), "\x00\n")
	if text != "" && clean.Prints(text) {
		return text
	}
	return "0x" + hex.EncodeToString(b)
}
