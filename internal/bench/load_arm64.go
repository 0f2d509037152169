package bench

import _ "embed"

//go:embed load_arm64.elf
var loadProgram []byte
