package kernel

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

// needsVerity is met where the test can have a file system with fs-verity.
var needsVerity = testutil.Need{
	What:   "a machine of the test's own, with mke2fs, loop devices, and ext4 built into the kernel",
	Remedy: "run the test in a VM with a cloud kernel: vmtest -with e2fsprogs",
	Met: func() bool {
		_, made := os.Stat(mke2fs)
		_, loop := os.Stat("/dev/loop-control")
		known, err := os.ReadFile("/proc/filesystems") // of Debian's real-time and generic kernels it is a module
		return os.Getenv("TASKWATCH_VM") != "" && made == nil && loop == nil && err == nil && strings.Contains(string(known), "\text4\n")
	},
}

const mke2fs = "/sbin/mke2fs" // busybox's own, in /bin, does not know ext4

// ext4 returns the directory of a new file system with that feature.
func ext4(t *testing.T, feature string) string {
	t.Helper()
	image := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, 32<<20); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "mounted")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, argv := range [][]string{
		{mke2fs, "-q", "-F", "-t", "ext4", "-b", "4096", "-O", feature, image},
		{"mount", "-t", "ext4", "-o", "loop", image, dir},
	} {
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", strings.Join(argv, " "), err, out)
		}
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// A rule by digest holds for each file of that content that has one, and no other
// rule but that for files without one stops a copy that has none.
func TestExecguardVerity(t *testing.T) {
	support(t)
	testutil.Require(t, needsVeto, needsVerity)
	quietKernel(t)
	prog, err := os.ReadFile(testutil.BuildC(t, "-static", "testdata/load.c"))
	if err != nil {
		t.Fatal(err)
	}
	dir := ext4(t, "verity")
	write := func(name string, content []byte) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	programs := map[string]string{
		"sealed": write("sealed", prog), "sealed copy": write("copy", prog),
		"other": write("other", append(slices.Clone(prog), 'x')), "copy without a digest": write("bare", prog),
	}
	out, err := exec.Command(testutil.BuildC(t, "-static", "testdata/seal.c"), programs["sealed"], programs["sealed copy"], programs["other"]).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	digests := strings.Fields(string(out))
	if len(digests) != 3 || len(digests[0]) != 64 || digests[0] != digests[1] || digests[0] == digests[2] {
		t.Fatalf("digests %q; want two that are the same, and another", digests)
	}
	linked := filepath.Join(dir, "hard")
	if err := os.Link(programs["sealed"], linked); err != nil {
		t.Fatal(err)
	}
	programs["hard link"] = linked
	programs["its script"] = write("script", []byte("#!"+programs["sealed"]+"\n"))

	lacking := []string{"copy without a digest", "its script", "memfd"}
	if merged := overlay(t, dir); merged != "" {
		programs["overlay"] = filepath.Join(merged, "sealed") // the digest is that of the file below
		lacking = append(lacking, "overlay")
	}
	fd, err := unix.MemfdCreate("prog", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	memfd := os.NewFile(uintptr(fd), "memfd")
	defer memfd.Close()
	if _, err := memfd.Write(prog); err != nil {
		t.Fatal(err)
	}
	programs["memfd"] = fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), fd)

	table := newTable(t, Config{})
	sealed := []string{"sealed", "sealed copy", "hard link", "its script"}
	for _, c := range []struct {
		name   string
		params []string
		denies []string
	}{
		{"digest", []string{param("verity", digests[0])}, sealed},
		{"digest in capitals", []string{param("verity", strings.ToUpper(digests[0]))}, sealed},
		{"its first half", []string{param("verity", digests[0][:32])}, nil},
		{"longer than it", []string{param("verity", digests[0]+"00")}, nil},
		{"no digest", []string{param("verity", strings.Repeat("x", 64))}, nil},
		{"without a digest", []string{"deny_no_verity=y"}, lacking},
		{"without a digest, or with this one", []string{"deny_no_verity=y", param("verity", digests[0])}, slices.Concat(sealed, lacking)},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := loadFile(t, "execguard", execguardC, c.params...)
			register(t, table, m)
			for name, path := range programs {
				err := (&exec.Cmd{Path: path, Args: []string{"load", "exit"}}).Run()
				var status *exec.ExitError // of the script, whose arguments load does not know
				ran := err == nil || errors.As(err, &status)
				if want := slices.Contains(c.denies, name); os.IsPermission(err) != want || ran == want {
					t.Errorf("%s: %v, want denied=%v", name, err, want)
				}
			}
			if err := table.Unregister(m); err != nil {
				t.Fatal(err)
			}
		})
	}
}
