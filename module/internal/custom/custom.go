// Package custom reads and appends custom sections of WebAssembly files: what a file has
// beside its code.
package custom

import "encoding/binary"

const header = 8 // bytes

// Sections returns the contents of custom sections by name: of two, that of the first.
// A file that is cut off has those in front.
func Sections(file []byte) map[string][]byte {
	found := map[string][]byte{}
	for rest := file[min(len(file), header):]; len(rest) > 1; {
		id := rest[0]
		var body []byte
		if body, rest = take(rest[1:]); id != 0 {
			continue
		}
		name, content := take(body)
		if _, ok := found[string(name)]; !ok {
			found[string(name)] = content
		}
	}
	return found
}

// take splits off what stands behind its length.
func take(b []byte) (part, rest []byte) {
	n, size := binary.Uvarint(b)
	if size <= 0 || n > uint64(len(b)-size) {
		return nil, nil
	}
	return b[size : size+int(n)], b[size+int(n):]
}

// Append appends a section to a file.
func Append(file []byte, name, content string) []byte {
	body := binary.AppendUvarint(nil, uint64(len(name)))
	body = append(append(body, name...), content...)
	file = binary.AppendUvarint(append(file, 0), uint64(len(body)))
	return append(file, body...)
}
