package none

import "testing"

func BenchmarkOnly(b *testing.B) {}
