package bench

import _ "embed"

//go:embed load_amd64.elf
var loadProgram []byte
