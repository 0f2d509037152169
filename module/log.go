package module

import "log/slog"

// What a module may log, in the kernel or in the sandbox.
const (
	MaxLogLine    = 1 << 10 // bytes; the rest of a line is cut
	LogsPerSecond = 100     // lines
)

// LogLevels are those of task_watcher_log(), by their number.
var LogLevels = [...]slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError}
