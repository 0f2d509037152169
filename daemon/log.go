package daemon

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/journal"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/outfile"
	"github.com/taskwatch/taskwatch/report"
	"github.com/taskwatch/taskwatch/sink/acct"
)

// LogConfig is a file that the daemon writes items to, or systemd's journal.
type LogConfig struct {
	File   string // absolute, or relative to the working directory; empty for LogJournald
	Format string // LogJSON, LogText, LogAcct, LogAudit or LogJournald; "" stands for the first

	// What is written, as for a stream of the interface. Empty Events mean exec,
	// uid, gid and exit, or for LogAcct exit. Where is an expression like that of --where.
	Events []string
	Fields []string
	Where  string

	// Env says what the field env, if Fields name it, has: report.EnvAll or
	// report.EnvNames; "" stands for the first. EnvRedact is a regular expression: the value of a
	// variable whose NAME=VALUE matches is left out.
	Env       string
	EnvRedact string

	// A file is rotated when it has MaxSize bytes or is as old as MaxAge; 0 means
	// no limit. Keep is the number of rotated files to keep, 0 means all. Gzip
	// compresses them.
	MaxSize int64
	MaxAge  time.Duration
	Keep    int
	Gzip    bool

	Sync   string // LogSyncNever, LogSyncSecond or LogSyncAlways; "" stands for the first
	OnFull string // what becomes of items that cannot be written: LogDrop, LogStop or LogEnd; "" stands for the first

	// Group may read the file: its mode is then 0640, and otherwise 0600.
	Group string
}

// The values of [LogConfig].
const (
	LogJSON = "json" // a recording
	LogText = "text" // lines for people

	LogAcct  = "acct"  // process accounting: see package sink/acct
	LogAudit = "audit" // the records of the module auditrec: see package sink/audit

	LogJournald = "journald" // entries of systemd's journal

	LogSyncNever  = "never"
	LogSyncSecond = "second"
	LogSyncAlways = "always"

	LogDrop = "drop" // they are dropped and counted, until writing works again
	LogStop = "stop" // nothing more is written until SIGHUP
	LogEnd  = "end"  // the daemon ends
)

var (
	logFormats = []string{LogJSON, LogText, LogAcct, LogAudit, LogJournald}
	logEnvs    = []string{report.EnvAll, report.EnvNames}
	logSyncs   = []string{LogSyncNever, LogSyncSecond, LogSyncAlways}
	logOnFulls = []string{LogDrop, LogStop, LogEnd}
)

// Name is what messages and metrics call the log.
func (c *LogConfig) Name() string {
	if c.Format == LogJournald {
		return journalName
	}
	return c.File
}

// recording reports whether the log is a recording.
func (c *LogConfig) recording() bool { return c.Format == LogJSON || c.Format == "" }

// check returns an error if the configuration is invalid. The error does not name
// the file.
func (c *LogConfig) check() error {
	if c.Format == LogJournald {
		if c.File+c.Group+c.Sync != "" || c.MaxSize != 0 || c.MaxAge != 0 || c.Keep != 0 || c.Gzip {
			return errors.New("journald keeps its own files; leave out file, group, fsync, max_size, max_age, keep and gzip")
		}
	} else if c.File == "" {
		return errors.New("it has no file; give file = \"/var/log/taskwatch/events.jsonl\"")
	}
	for _, one := range []struct {
		key, value string
		known      []string
	}{{"format", c.Format, logFormats}, {"env", c.Env, logEnvs}, {"fsync", c.Sync, logSyncs}, {"on_full", c.OnFull, logOnFulls}} {
		if one.value != "" && !slices.Contains(one.known, one.value) {
			return fmt.Errorf("%s = %q is unknown; choose %s", one.key, one.value, oneOf(one.known))
		}
	}
	switch {
	case c.MaxSize < 0:
		return fmt.Errorf("max_size = %d: a size cannot be negative; leave it out for files without a bound", c.MaxSize)
	case c.MaxAge < 0:
		return fmt.Errorf("max_age = %q: an age cannot be negative; leave it out for files without a bound", c.MaxAge)
	case c.Keep < 0:
		return fmt.Errorf("keep = %d: a number of files cannot be negative; leave it out to keep all", c.Keep)
	case c.MaxSize == 0 && c.MaxAge == 0 && (c.Keep > 0 || c.Gzip):
		return errors.New("keep and gzip are about rotated files, and nothing rotates them; give max_size or max_age")
	case len(c.Fields) > 0 && slices.Contains([]string{LogText, LogAcct, LogAudit}, c.Format):
		return fmt.Errorf("fields are added to a recording, and the format is %s; leave fields out, or write json", c.Format)
	case c.Format == LogAudit && (len(c.Events) > 0 || c.Where != ""):
		return errors.New("the module auditrec chooses what is in an audit log, by its parameters; leave out events and where")
	case c.Format == LogAcct && len(c.Events) > 0 && !slices.Contains(c.Events, taskwatch.Exit.String()):
		return errors.New("accounting is of processes that ended, and events lack exit; add it, or leave events out")
	}
	st, err := c.chosen()
	if err != nil {
		return err
	}
	if (c.Env == report.EnvNames || c.EnvRedact != "") && !st.optional.Has(taskwatch.FieldEnv) {
		return errors.New("env and env_redact are about the field env, which fields lacks; add it there, or leave them out")
	}
	if _, err := c.envCut(); err != nil {
		return err
	}
	_, err = findGroup(c.Group)
	if err != nil {
		return errors.New(strings.TrimPrefix(err.Error(), "daemon: "))
	}
	return nil
}

// chosen returns a stream that selects what is written. It is not open.
func (c *LogConfig) chosen() (*stream, error) {
	events := c.Events
	switch {
	case len(events) > 0:
	case c.Format == LogAcct:
		events = []string{taskwatch.Exit.String()}
	default:
		events = usualEvents()
	}
	s, err := newStream(&choice{events: events, fields: c.Fields, where: c.Where})
	if err == nil && c.Format == LogAudit {
		s.kinds = 0 // records of modules come without being asked for
	}
	return s, err
}

// envCut returns what is left out of environments.
func (c *LogConfig) envCut() (cut report.EnvCut, err error) {
	cut.Names = c.Env == report.EnvNames
	if c.EnvRedact == "" {
		return cut, nil
	}
	if cut.Secret, err = report.ParseSecret(c.EnvRedact); err != nil {
		return cut, fmt.Errorf("env_redact = %q: %w", c.EnvRedact, err)
	}
	return cut, nil
}

// checkLogs returns an error if a list has an invalid log.
func checkLogs(list []LogConfig) error {
	for i, c := range list {
		if err := c.check(); err != nil {
			return fmt.Errorf("log %q: %w", c.Name(), err)
		}
		if slices.ContainsFunc(list[:i], func(o LogConfig) bool { return filepath.Clean(o.Name()) == filepath.Clean(c.Name()) }) {
			return fmt.Errorf("log %q is twice in the configuration; give one of them another file", c.Name())
		}
	}
	return nil
}

// options returns how the file is written.
func (c *LogConfig) options(report func(error)) (outfile.LogOptions, error) {
	o := outfile.LogOptions{
		Mode: 0o600, MaxSize: c.MaxSize, MaxAge: c.MaxAge, Keep: c.Keep, Gzip: c.Gzip, Report: report,
		Sync: outfile.Sync(max(slices.Index(logSyncs, c.Sync), 0)), // in the same order
	}
	if c.Format == LogAcct {
		o.Record = acct.RecordLen
	}
	g, err := findGroup(c.Group)
	if g != nil {
		o.Mode, o.GID = 0o640, int(g.id)
	}
	return o, err
}

// open opens the file. A log without one has a nil file.
func (c *LogConfig) open(report func(error)) (*outfile.Log, error) {
	if c.Format == LogJournald {
		if !journal.Enabled() {
			return nil, fmt.Errorf("log %q: no journald listens at /run/systemd/journal/socket; is systemd there? Write a file instead", c.Name())
		}
		return nil, nil
	}
	o, err := c.options(report)
	if err != nil {
		return nil, err
	}
	if st, err := os.Stat(c.File); err == nil && !st.Mode().IsRegular() {
		return nil, fmt.Errorf("log %q: it is no regular file; give the name of one, or of none", c.File)
	}
	f, err := outfile.OpenLog(c.File, true, o)
	if err != nil {
		return nil, fmt.Errorf("log %q: %w; give a file that can be written, in a directory that there is", c.File, bare(err))
	}
	return f, nil
}

// oneOf lists words to choose from: a, b or c.
func oneOf(words []string) string {
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// bare returns the cause of an error whose text already names the file.
func bare(err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// Size is a number of bytes in a configuration file: 1048576, "64KiB", "100MiB"
// or "1GiB".
type Size int64

// UnmarshalText reads a size.
func (s *Size) UnmarshalText(text []byte) error {
	digits, shift := string(text), 0
	for i, unit := range []string{"KiB", "MiB", "GiB"} {
		if rest, ok := strings.CutSuffix(digits, unit); ok {
			digits, shift = rest, 10*(i+1)
			break
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n <= 0 || n<<shift>>shift != n {
		return fmt.Errorf("%q is no size; give a number of bytes, or one with KiB, MiB or GiB: \"100MiB\"", text)
	}
	*s = Size(n << shift)
	return nil
}
