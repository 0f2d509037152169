// Package otlp turns items into spans of OpenTelemetry: one of the whole run,
// one of each process below that of the process that made it, and below each
// one of every program that it ran. What else happens is an event of a span.
// Names are those of OpenTelemetry's semantic conventions 1.37 for processes
// and command line programs.
//
// The spans are sent at the end, by OTLP over HTTP or gRPC, or written as OTLP
// JSON lines: a viewer can do little with half a trace, and only at the end is
// known which spans are worth it. Of more than [Config.MaxSpans] those of
// processes that failed stay, then the longest, with their ancestors.
package otlp
