package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	stock "github.com/taskwatch/taskwatch/modules"
)

// File is a configuration file (TOML). What it leaves out is empty.
type File struct {
	Socket  string `toml:"socket"`
	Group   string `toml:"group"`
	Source  string `toml:"source"`
	Metrics string `toml:"metrics"`
	Log     string `toml:"log"` // "text" or "json"

	// CallStats is whether the calls of kernel modules are counted and timed.
	CallStats *bool `toml:"call_stats"`

	// Trust says whose modules are loaded.
	Trust FileTrust `toml:"trust"`

	// OTLP says what is sent to a collector.
	OTLP *FileOTLP `toml:"otlp"`

	Modules []FileModule `toml:"module"`
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
		if file != "" && !filepath.IsAbs(file) {
			file = filepath.Join(dir, file)
		}
		c.Settings[key] = file
	}
	return c
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
	var f File
	meta, err := toml.DecodeFile(name, &f)
	if err != nil {
		var syntax toml.ParseError
		if errors.As(err, &syntax) {
			return nil, fmt.Errorf("configuration %s:%d: %s", name, syntax.Position.Line, syntax.Message)
		}
		var path *fs.PathError
		if errors.As(err, &path) {
			return nil, fmt.Errorf("configuration %s: %w", name, path.Err)
		}
		return nil, fmt.Errorf("configuration %s: %s", name, strings.TrimPrefix(err.Error(), "toml: "))
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return nil, fmt.Errorf("configuration %s: unknown key %q", name, unknown[0].String())
	}
	if f.Log != "" && f.Log != "text" && f.Log != "json" {
		return nil, fmt.Errorf("configuration %s: log = %q; choose text or json", name, f.Log)
	}
	return &f, nil
}

// moduleConfigs returns the modules of a file. Paths are relative to the
// directory of the file, whose name is given.
func (f *File) moduleConfigs(name string) ([]ModuleConfig, error) {
	var list []ModuleConfig
	for _, m := range f.Modules {
		c := ModuleConfig{Name: m.Name, File: m.File, AllowObserveOnly: m.AllowObserveOnly, AllowBestEffort: m.AllowBestEffort, Params: map[string]string{}}
		if c.File != "" && !filepath.IsAbs(c.File) {
			file := filepath.Join(filepath.Dir(name), c.File)
			if _, err := os.Lstat(file); err == nil || stock.Find(c.File) == nil {
				c.File = file
			}
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
	var trust Trust
	for _, key := range f.Trust.Keys {
		if !filepath.IsAbs(key) {
			key = filepath.Join(filepath.Dir(name), key)
		}
		trust.Keys = append(trust.Keys, key)
	}
	return Config{
		Trust: trust, OTLP: f.OTLP.config(filepath.Dir(name)),
		Socket: f.Socket, Group: f.Group, Source: f.Source, Metrics: f.Metrics, Modules: modules,
		NoCallStats: f.CallStats != nil && !*f.CallStats,
	}, err
}

// Differs returns the keys, other than the modules, that two files do not have
// alike: those that take a restart.
func (f *File) Differs(other *File) string {
	var keys []string
	stats := func(f *File) bool { return f.CallStats == nil || *f.CallStats }
	for key, same := range map[string]bool{
		"socket": f.Socket == other.Socket, "group": f.Group == other.Group, "source": f.Source == other.Source,
		"metrics": f.Metrics == other.Metrics, "log": f.Log == other.Log, "call_stats": stats(f) == stats(other),
	} {
		if !same {
			keys = append(keys, key)
		}
	}
	return strings.Join(keys, ", ")
}
