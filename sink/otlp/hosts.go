package otlp

import (
	"context"
	"maps"

	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	"google.golang.org/protobuf/proto"

	"github.com/taskwatch/taskwatch"
)

// HostLogs sends a log record for each item of several hosts, as [LogSink] does for
// those of its own. Each host is a resource. It is not for several goroutines, but
// for Counts. Take blocks while a request is on its way.
type HostLogs struct {
	*outbox[*logspb.ResourceLogs]
	cfg       *Config
	resources map[Host]*resourcepb.Resource
}

// Host is a host of which there are items.
type Host struct {
	Name string
	Key  string // of the node of a fleet: names may be taken twice
}

// NewHostLogs returns what sends log records. report is called with the first of
// several failures in a row, and with nil when sending works again; it may be nil.
func NewHostLogs(cfg *Config, to Sender, report func(error)) *HostLogs {
	return &HostLogs{outbox: newOutbox(to, byHost, report), cfg: cfg, resources: map[Host]*resourcepb.Resource{}}
}

// byHost puts together the records of each resource, in their order.
func byHost(parts []*logspb.ResourceLogs) proto.Message {
	data := &logspb.LogsData{}
	all := map[*resourcepb.Resource]*logspb.ScopeLogs{}
	for _, part := range parts {
		records := part.ScopeLogs[0].LogRecords
		if logs := all[part.Resource]; logs != nil {
			logs.LogRecords = append(logs.LogRecords, records...)
			continue
		}
		logs := &logspb.ScopeLogs{Scope: scope(), SchemaUrl: schemaURL, LogRecords: records}
		all[part.Resource] = logs
		data.ResourceLogs = append(data.ResourceLogs, &logspb.ResourceLogs{Resource: part.Resource, SchemaUrl: schemaURL, ScopeLogs: []*logspb.ScopeLogs{logs}})
	}
	return data
}

// Take takes an item of a host, which may be marked as unsure: its record then has
// the attribute taskwatch.unsure.
func (l *HostLogs) Take(h Host, it taskwatch.Item, unsure bool) {
	r := markedRecord(it, unsure)
	if r == nil {
		return
	}
	l.add(&logspb.ResourceLogs{Resource: l.resourceOf(h), ScopeLogs: []*logspb.ScopeLogs{{LogRecords: []*logspb.LogRecord{r}}}})
}

// maxHosts is how many resources are kept: a host may change its name again and again.
const maxHosts = 10_000

func (l *HostLogs) resourceOf(h Host) *resourcepb.Resource {
	if r := l.resources[h]; r != nil {
		return r
	}
	attributes := host()
	delete(attributes, "host.arch") // of this one
	maps.Copy(attributes, l.cfg.Resource)
	attributes["host.name"], attributes["taskwatch.node_key"] = h.Name, h.Key
	if len(l.resources) >= maxHosts {
		clear(l.resources)
	}
	r := resourceOf(attributes)
	l.resources[h] = r
	return r
}

// Stop has nothing sent any more: what is on its way fails, and so does what comes. It
// may be called at any time.
func (l *HostLogs) Stop() { l.stop() }

// Close sends everything that waits. It stops when ctx ends.
func (l *HostLogs) Close(ctx context.Context) error { return l.close(ctx) }
