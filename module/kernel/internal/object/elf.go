package object

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"io"
	"slices"
	"strings"
)

// Limits on what is read. They are far above what a watcher needs, and keep a
// hostile object from costing memory before the kernel has seen it.
const (
	MaxSize     = 16 << 20 // bytes of a file
	maxDataSize = 16 << 20 // bytes of all global variables
)

// openELF checks that the bytes are what this machine's kernel could load at
// all, so that the usual mistakes get a plain answer.
func openELF(object []byte) (*elf.File, error) {
	const fix = "build it with 'taskwatch module build'"
	if len(object) > MaxSize {
		return nil, Invalid("it has %d bytes, and a module may have %d", len(object), MaxSize)
	}
	if !bytes.HasPrefix(object, []byte(elf.ELFMAG)) {
		return nil, Invalid("it is not an ELF object; %s", fix)
	}
	file, err := elf.NewFile(bytes.NewReader(object))
	if err != nil {
		return nil, Invalid("truncated or malformed ELF object: %w", err)
	}
	if file.Machine != elf.EM_BPF {
		return nil, Invalid("it was compiled for %v, not for BPF; %s", file.Machine, fix)
	}
	if file.Type != elf.ET_REL {
		return nil, Invalid("it is an ELF file of type %v, not a relocatable object; %s", file.Type, fix)
	}
	if file.Class != elf.ELFCLASS64 {
		return nil, Invalid("it is an ELF object of %v, not ELFCLASS64; %s", file.Class, fix)
	}
	if file.ByteOrder.Uint16([]byte{1, 0}) != binary.NativeEndian.Uint16([]byte{1, 0}) {
		return nil, Invalid("its byte order (%v) is not this machine's; %s on a machine like this one", file.ByteOrder, fix)
	}
	var data uint64
	for _, s := range file.Sections {
		if s.Flags&elf.SHF_COMPRESSED != 0 && !strings.HasPrefix(s.Name, ".debug") {
			return nil, Invalid("section %s is compressed; %s", s.Name, fix)
		}
		if s.Type != elf.SHT_NOBITS {
			if s.Size > uint64(len(object)) {
				return nil, Invalid("truncated ELF object: section %s has %d bytes, the file %d", s.Name, s.Size, len(object))
			}
			continue
		}
		if data += s.Size; s.Size > maxDataSize || data > maxDataSize {
			return nil, Invalid("section %s has %d bytes of global variables, and a module may have %d: use a map", s.Name, s.Size, maxDataSize)
		}
	}
	if !slices.ContainsFunc(file.Sections, func(s *elf.Section) bool { return s.Flags&elf.SHF_EXECINSTR != 0 && s.Size > 0 }) {
		return nil, errNoWatchers
	}
	if file.Section(".BTF") == nil || file.Section(".BTF.ext") == nil {
		return nil, Invalid("it has no BTF type information: compile with -g and do not strip it; %s", fix)
	}
	return file, nil
}

var errNoWatchers = Invalid("it has no watchers: use task_watcher_func(event, function)")

// sectionData returns what the section holds, or nil where there is none.
func sectionData(file *elf.File, name string) ([]byte, error) {
	s := file.Section(name)
	if s == nil || s.Type == elf.SHT_NOBITS {
		return nil, nil
	}
	data, err := io.ReadAll(io.LimitReader(s.Open(), MaxSize))
	if err != nil {
		return nil, Invalid("section %s: %w", name, err)
	}
	return data, nil
}

// checkAddresses rejects variables that begin with the address of a text, a variable
// or a function. The library puts none there: it would be the place in the object, or 0.
func checkAddresses(file *elf.File, symbols []elf.Symbol) error {
	for _, s := range file.Sections {
		if s.Type != elf.SHT_REL || int(s.Info) >= len(file.Sections) || s.Size < 8 {
			continue
		}
		if of := file.Sections[s.Info].Name; !strings.HasPrefix(of, ".data") && !strings.HasPrefix(of, ".rodata") {
			continue
		}
		first, err := sectionData(file, s.Name)
		if err != nil {
			return err
		}
		if len(first) < 8 {
			continue
		}
		at, name := file.ByteOrder.Uint64(first), file.Sections[s.Info].Name
		for _, v := range symbols {
			if elf.ST_TYPE(v.Info) == elf.STT_OBJECT && uint32(v.Section) == s.Info && v.Value <= at && at-v.Value < v.Size {
				name = v.Name
			}
		}
		return Invalid("variable %s begins with an address, which the kernel does not fill in: keep texts in arrays, such as char names[3][8], and call functions by their names", name)
	}
	return nil
}
