package daemon

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	"github.com/taskwatch/taskwatch/internal/lazyregexp"
	stock "github.com/taskwatch/taskwatch/modules"
)

// File is a configuration file (TOML). What it leaves out is empty.
type File struct {
	Socket  string `toml:"socket"`
	Group   string `toml:"group"`
	Source  string `toml:"source"`
	Metrics string `toml:"metrics"`

	// Connector is the path of the socket with the records of cnproc.
	Connector string `toml:"connector"`

	// Classify is a file with rules, relative to the directory of the configuration.
	Classify string `toml:"classify"`

	// LogFormat is that of the daemon's messages: "text" or "json". A file that
	// has no tables [[log]] may say log = "json" instead.
	LogFormat string `toml:"log_format"`

	// CallStats is whether the calls of kernel modules are counted and timed.
	CallStats *bool `toml:"call_stats"`

	// Trust says whose modules are loaded.
	Trust FileTrust `toml:"trust"`

	// OTLP says what is sent to a collector.
	OTLP *FileOTLP `toml:"otlp"`

	// Hub is that of the fleet which the daemon joins, or nil.
	Hub *FileHub `toml:"hub"`

	// Logs are the files that items are written to.
	Logs []FileLog `toml:"log"`

	Modules []FileModule `toml:"module"`

	logLines []int // where the tables [[log]] begin
}

// FileLog is a table [[log]] of a configuration file.
type FileLog struct {
	File    string        `toml:"file"` // relative to the directory of the configuration
	Format  string        `toml:"format"`
	Events  []string      `toml:"events"`
	Fields  []string      `toml:"fields"`
	Where   string        `toml:"where"`
	Env     string        `toml:"env"`
	Redact  string        `toml:"env_redact"`
	MaxSize Size          `toml:"max_size"`
	MaxAge  time.Duration `toml:"max_age"`
	Keep    int           `toml:"keep"`
	Gzip    bool          `toml:"gzip"`
	Fsync   string        `toml:"fsync"`
	OnFull  string        `toml:"on_full"`
	Group   string        `toml:"group"`
}

// logConfigs returns the logs of a file, whose name is given.
func (f *File) logConfigs(name string) (list []LogConfig, err error) {
	for i, l := range f.Logs {
		c := LogConfig{
			File: beside(filepath.Dir(name), l.File), Format: l.Format, Events: l.Events, Fields: l.Fields, Where: l.Where,
			Env: l.Env, EnvRedact: l.Redact, MaxSize: int64(l.MaxSize), MaxAge: l.MaxAge,
			Keep: l.Keep, Gzip: l.Gzip, Sync: l.Fsync, OnFull: l.OnFull, Group: l.Group,
		}
		if err := c.check(); err != nil {
			place := name
			if i < len(f.logLines) {
				place = fmt.Sprintf("%s:%d", name, f.logLines[i])
			}
			return nil, fmt.Errorf("configuration %s: [[log]] %q: %w", place, l.File, err)
		}
		list = append(list, c)
	}
	return list, nil
}

// beside returns the path that a configuration file in dir means by path, which is
// relative to dir. "" stays.
func beside(dir, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

// FileOTLP is the table [otlp] of a configuration file.
type FileOTLP struct {
	Logs   *bool    `toml:"logs"` // true, if it is left out
	Spans  bool     `toml:"spans"`
	Events []string `toml:"events"`
	Where  string   `toml:"where"`

	Endpoint    string            `toml:"endpoint"`
	Protocol    string            `toml:"protocol"`
	Headers     map[string]string `toml:"headers"`
	Timeout     time.Duration     `toml:"timeout"`
	Compression string            `toml:"compression"`

	// Files, relative to the directory of the configuration.
	Certificate       string `toml:"certificate"`
	ClientCertificate string `toml:"client_certificate"`
	ClientKey         string `toml:"client_key"`
}

// config returns the configuration that a table gives; dir is that of its file.
func (f *FileOTLP) config(dir string) OTLP {
	if f == nil {
		return OTLP{}
	}
	c := OTLP{Logs: f.Logs == nil || *f.Logs, Spans: f.Spans, Events: f.Events, Where: f.Where, Settings: map[string]string{
		"endpoint": f.Endpoint, "protocol": f.Protocol, "compression": f.Compression,
	}}
	var headers []string
	for k, v := range f.Headers {
		headers = append(headers, k+"="+url.PathEscape(v))
	}
	slices.Sort(headers)
	c.Settings["headers"] = strings.Join(headers, ",")
	if f.Timeout != 0 {
		c.Settings["timeout"] = strconv.FormatInt(f.Timeout.Milliseconds(), 10)
	}
	for key, file := range map[string]string{"certificate": f.Certificate, "client_certificate": f.ClientCertificate, "client_key": f.ClientKey} {
		c.Settings[key] = beside(dir, file)
	}
	return c
}

// FileHub is the table [hub] of a configuration file. Its paths are relative to the
// directory of the configuration.
type FileHub struct {
	Address string            `toml:"address"`
	Name    string            `toml:"name"`  // of the node; "" is that of the host
	Token   string            `toml:"token"` // a file
	Keys    []string          `toml:"keys"`  // files
	Labels  map[string]string `toml:"labels"`
	Dir     string            `toml:"dir"`
}

// Joins returns the table [hub] of the file of that name, with paths that hold
// everywhere; empty where there is none.
func (f *File) Joins(name string) FileHub {
	if f.Hub == nil {
		return FileHub{}
	}
	h, dir := *f.Hub, filepath.Dir(name)
	h.Token, h.Dir, h.Keys = beside(dir, h.Token), beside(dir, h.Dir), nil
	for _, key := range f.Hub.Keys {
		h.Keys = append(h.Keys, beside(dir, cmp.Or(key, ".")))
	}
	return h
}

// FileTrust is the table [trust] of a configuration file.
type FileTrust struct {
	Keys []string `toml:"keys"` // relative to the directory of the file
}

// FileModule is a module in a configuration file.
type FileModule struct {
	Name             string         `toml:"name"`
	File             string         `toml:"file"`
	Params           map[string]any `toml:"params"`
	AllowObserveOnly bool           `toml:"allow_observe_only"`
	AllowBestEffort  bool           `toml:"allow_best_effort"`
}

// ReadFile reads a configuration file. A key that it does not know is an
// error.
func ReadFile(name string) (*File, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("configuration %s: %w", name, bare(err))
	}
	f, meta, err := decodeFile(string(text))
	if err != nil {
		var syntax toml.ParseError
		if errors.As(err, &syntax) {
			return nil, fmt.Errorf("configuration %s:%d: %s", name, syntax.Position.Line, syntax.Message)
		}
		return nil, fmt.Errorf("configuration %s: %s", name, strings.TrimPrefix(err.Error(), "toml: "))
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return nil, fmt.Errorf("configuration %s: unknown key %q", name, unknown[0].String())
	}
	if f.LogFormat != "" && f.LogFormat != "text" && f.LogFormat != "json" {
		return nil, fmt.Errorf("configuration %s: log_format = %q; choose text or json", name, f.LogFormat)
	}
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		if logTable.MatchString(line) {
			f.logLines = append(f.logLines, n)
		}
	}
	return f, nil
}

// logTable matches the line that begins a log.
var logTable = lazyregexp.New(`^\s*\[\[\s*log\s*\]\]`)

// decodeFile decodes a file. Its log is a list of tables, or the format of the
// messages.
func decodeFile(text string) (*File, toml.MetaData, error) {
	var shape struct {
		Log any `toml:"log"`
	}
	if _, err := toml.Decode(text, &shape); err == nil {
		if _, ok := shape.Log.(string); ok {
			var f struct {
				File
				Log string `toml:"log"`
			}
			meta, err := toml.Decode(text, &f)
			f.LogFormat = cmp.Or(f.LogFormat, f.Log)
			return &f.File, meta, err
		}
	}
	var f File
	meta, err := toml.Decode(text, &f)
	return &f, meta, err
}

// moduleConfigs returns the modules of a file. Paths are relative to the
// directory of the file, whose name is given.
func (f *File) moduleConfigs(name string) ([]ModuleConfig, error) {
	var list []ModuleConfig
	for _, m := range f.Modules {
		c := ModuleConfig{Name: m.Name, File: m.File, AllowObserveOnly: m.AllowObserveOnly, AllowBestEffort: m.AllowBestEffort, Params: map[string]string{}}
		file := beside(filepath.Dir(name), c.File)
		if _, err := os.Lstat(file); err == nil || stock.Find(c.File) == nil {
			c.File = file
		}
		for key, value := range m.Params {
			switch value.(type) {
			case string, bool, int64:
				c.Params[key] = fmt.Sprint(value)
			default:
				return nil, fmt.Errorf("configuration %s: module %s: parameter %s is a %T; give a number, a bool or a string", name, m.File, key, value)
			}
		}
		list = append(list, c)
	}
	return list, nil
}

// Config returns the configuration that a file gives.
func (f *File) Config(name string) (Config, error) {
	modules, err := f.moduleConfigs(name)
	if err != nil {
		return Config{}, err
	}
	logs, err := f.logConfigs(name)
	var trust Trust
	for _, key := range f.Trust.Keys {
		trust.Keys = append(trust.Keys, beside(filepath.Dir(name), cmp.Or(key, ".")))
	}
	return Config{
		Trust: trust, OTLP: f.OTLP.config(filepath.Dir(name)),
		Socket: f.Socket, Group: f.Group, Source: f.Source, Metrics: f.Metrics, Connector: f.Connector, Classify: beside(filepath.Dir(name), f.Classify), Modules: modules, Logs: logs,
		NoCallStats: f.CallStats != nil && !*f.CallStats,
	}, err
}

// Differs returns the keys, other than the modules, the logs and the like, that two files do not have
// alike: those that take a restart.
func (f *File) Differs(other *File) string {
	var keys []string
	stats := func(f *File) bool { return f.CallStats == nil || *f.CallStats }
	for key, same := range map[string]bool{
		"socket": f.Socket == other.Socket, "group": f.Group == other.Group, "source": f.Source == other.Source,
		"metrics": f.Metrics == other.Metrics, "connector": f.Connector == other.Connector, "classify": f.Classify == other.Classify, "log_format": f.LogFormat == other.LogFormat, "call_stats": stats(f) == stats(other),
		"hub": reflect.DeepEqual(f.Hub, other.Hub),
	} {
		if !same {
			keys = append(keys, key)
		}
	}
	return strings.Join(keys, ", ")
}
