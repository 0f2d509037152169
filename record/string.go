package record

import "github.com/taskwatch/taskwatch/internal/jsonstring"

const hexDigits = "0123456789abcdef"

// appendString appends s as a JSON string, in the form that the package
// comment describes.
func appendString(b []byte, s string) []byte { return jsonstring.Append(b, s) }

// decodeString is its reverse for what a JSON parser made of the string.
func decodeString(s string) string { return jsonstring.Decode(s) }
