package good

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func TestSeesItsTestdata(t *testing.T) {
	b, err := os.ReadFile("testdata/word")
	if err != nil || string(b) != "odd\n" {
		t.Errorf("testdata/word: %q, %v", b, err)
	}
	if os.Getenv("TASKWATCH_VM") == "" {
		t.Error("TASKWATCH_VM is not set")
	}
}

func TestRunsPrebuiltC(t *testing.T) {
	out := filepath.Join(t.TempDir(), "program")
	if said, err := exec.Command("gcc", "-O2", "-Wall", "-o", out, "testdata/seven.c").CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v: %s", err, said)
	}
	err := exec.Command(out).Run()
	if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 7 {
		t.Errorf("the program says %v, want exit status 7", err)
	}
	said, err := exec.Command("gcc", "-o", out, "testdata/unknown.c").CombinedOutput()
	if err == nil {
		t.Errorf("gcc built a program that was not prebuilt: %s", said)
	}
}

func TestSub(t *testing.T) {
	t.Run("skipped", func(t *testing.T) { t.Skip("no", "reason") })
	t.Run("passed", func(t *testing.T) {})
}
