package otlp

import (
	"strings"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
)

// valid returns a string as messages can have it: one of any other bytes has the
// whole message fail.
func valid(s string) string { return strings.ToValidUTF8(s, "\ufffd") }

func stringValue(s string) *commonpb.AnyValue {
	return &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: valid(s)}}
}

func str(key, value string) *commonpb.KeyValue {
	return &commonpb.KeyValue{Key: key, Value: stringValue(value)}
}

func num(key string, value int64) *commonpb.KeyValue {
	return &commonpb.KeyValue{Key: key, Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_IntValue{IntValue: value}}}
}

func flag(key string, value bool) *commonpb.KeyValue {
	return &commonpb.KeyValue{Key: key, Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_BoolValue{BoolValue: value}}}
}

func list(key string, values []string) *commonpb.KeyValue { return listOf(key, values, stringValue) }

func listOf[T any](key string, values []T, value func(T) *commonpb.AnyValue) *commonpb.KeyValue {
	a := &commonpb.ArrayValue{}
	for _, v := range values {
		a.Values = append(a.Values, value(v))
	}
	return &commonpb.KeyValue{Key: key, Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_ArrayValue{ArrayValue: a}}}
}
