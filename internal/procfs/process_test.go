package procfs

import (
	"os"
	"os/exec"
	"slices"
	"testing"
)

func TestProcess(t *testing.T) {
	p, err := OpenProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := p.Cgroups(); err != nil || !slices.Equal(got, paths(b)) || len(got) == 0 {
		t.Errorf("cgroups %q, %v; the file is %q", got, err, b)
	}
	root, err := p.Root()
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	own, err := os.Stat("/")
	if err != nil {
		t.Fatal(err)
	}
	if st, err := root.Stat(); err != nil || !os.SameFile(own, st) {
		t.Errorf("the root is %v, %v", st, err)
	}
	ids, err := p.UIDs()
	if err != nil {
		t.Fatal(err)
	}
	if id, ok := ids.Outside(0); len(ids) == 0 || ok && ids[0].inside == 0 && uint64(id) != ids[0].outside {
		t.Errorf("ids %v: 0 is %d, %t", ids, id, ok)
	}
}

// A process that has gone stays that one, whoever gets its pid.
func TestProcessThatHasGone(t *testing.T) {
	cmd := exec.Command("cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p, err := OpenProcess(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := in.Close(); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if got, err := p.Cgroups(); !Gone(err) || got != nil {
		t.Errorf("cgroups %q, %v", got, err)
	}
	if root, err := p.Root(); !Gone(err) {
		t.Errorf("root %v, %v", root, err)
	}
	if q, err := OpenProcess(cmd.Process.Pid); !Gone(err) {
		t.Errorf("opened again: %v, %v", q, err)
	}
}

func TestIDMap(t *testing.T) {
	for _, c := range []struct {
		text   string
		inside uint64
		want   uint32
		ok     bool
	}{
		{"         0          0 4294967295\n", 70000, 70000, true},
		{"0 100000 65536\n", 33, 100033, true},
		{"0 100000 65536\n", 65536, 0, false},
		{"0 1000 1\n1 100000 40\n", 33, 100032, true},
		{"0 4294967290 100\n", 4, 4294967294, true},
		{"0 4294967290 100\n", 5, 0, false}, // the id that is none
		{"0 4294967290 100\n", 99, 0, false},
		{"x y z\n1 2\n", 1, 0, false},
		{"", 0, 0, false},
	} {
		if got, ok := ParseIDMap([]byte(c.text)).Outside(c.inside); got != c.want || ok != c.ok {
			t.Errorf("%q: %d is %d, %t; want %d, %t", c.text, c.inside, got, ok, c.want, c.ok)
		}
	}
}

func TestPaths(t *testing.T) {
	if got := paths([]byte("2:cpu:/a:b\n0::/docker/x (deleted)\nnonsense\n")); !slices.Equal(got, []string{"/a:b", "/docker/x"}) {
		t.Errorf("paths %q", got)
	}
	if _, err := OpenProcess(1 << 30); !Gone(err) {
		t.Errorf("a pid that is none: %v", err)
	}
}
