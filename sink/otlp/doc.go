// Package otlp turns items into OpenTelemetry spans: one for the whole run, one
// for each process, below its creator's, and one for each program, below its
// process's. Everything else is an event of a span.
// Names are those of OpenTelemetry's semantic conventions 1.37 for processes
// and command line programs.
//
// The spans are sent at the end, by OTLP over HTTP or gRPC, or written as OTLP
// JSON lines. A viewer can do little with half a trace, and only at the end it
// is known which spans matter. If there are more than [Config.MaxSpans], those
// of failed processes stay, then the longest, with their ancestors.
package otlp
