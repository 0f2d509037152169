package exits

import (
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	m.Run()
	os.Exit(3) // as a leak check does
}

func TestPasses(t *testing.T) {}
