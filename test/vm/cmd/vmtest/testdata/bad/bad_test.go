package bad

import "testing"

func TestPasses(t *testing.T) {}

func TestFails(t *testing.T) { t.Error("on purpose") }
