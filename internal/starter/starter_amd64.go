package starter

import _ "embed"

//go:embed starter_amd64.elf
var program []byte
