package starter

import _ "embed"

//go:embed starter_arm64.elf
var program []byte
