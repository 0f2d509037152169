package watchtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

// nobody is a user without any right.
const nobody = 65534

// rights are what a program has at one moment.
type rights struct {
	Permitted uint64
	Secure    bool // AT_SECURE
}

func tellRights() {
	var data [2]unix.CapUserData
	must(unix.Capget(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &data[0]))
	r := rights{Permitted: uint64(data[1].Permitted)<<32 | uint64(data[0].Permitted)}
	auxv, err := unix.Auxv()
	must(err)
	for _, pair := range auxv {
		if pair[0] == 23 { // AT_SECURE
			r.Secure = pair[1] != 0
		}
	}
	must(json.NewEncoder(os.Stdout).Encode(r))
}

// runWithRights becomes a user, tells its rights, and runs a file that tells its own.
func runWithRights(user, file string) {
	runtime.LockOSThread()
	uid, err := strconv.Atoi(user)
	must(err)
	if uid != os.Geteuid() {
		must(unix.Setresgid(uid, uid, uid))
		must(unix.Setresuid(uid, uid, uid))
	}
	tellRights()
	must(os.Setenv(truthEnv, "rights"))
	must(unix.Exec(file, []string{file, "gained"}, os.Environ()))
}

// The files that give rights: this test binary, plain, with a capability, and
// setuid.
const (
	plainFile  = "plain"
	capFile    = "capability"
	setuidFile = "setuid"
)

// capOfFile is CAP_NET_RAW, which harms nobody.
const capOfFile = 1 << unix.CAP_NET_RAW

// MakeGains puts the files for [Gains] into a directory that everybody may
// enter. Only root can.
func MakeGains(t testing.TB, dir string) {
	t.Helper()
	for _, name := range []string{plainFile, capFile, setuidFile} {
		in, err := os.Open("/proc/self/exe")
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		out, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.Copy(out, in)
		if err == nil && name == capFile {
			testutil.SetFileCaps(t, out.Name(), capOfFile)
		}
		if err == nil && name == setuidFile {
			err = out.Chmod(0o755 | os.ModeSetuid)
		}
		if e := out.Close(); err == nil {
			err = e
		}
		if err != nil {
			t.Fatalf("%s: %v", out.Name(), err)
		}
	}
}

// Gains checks what a source says of the rights that an exec of the files of
// [MakeGains] gives to a user: root becomes that user. traced says that the
// kernel gives none, because an ordinary user traces.
func Gains(t *testing.T, newInstance func(t testing.TB, cmd Command) Instance, dir string, user int, traced bool) {
	for _, file := range []string{plainFile, capFile, setuidFile} {
		t.Run(fmt.Sprintf("user-%d-%s", user, file), func(t *testing.T) {
			cmd, got := toldOf(t, newInstance, "gain", strconv.Itoa(user), filepath.Join(dir, file))
			out, err := os.ReadFile(cmd.Stdout.Name())
			if err != nil {
				t.Fatal(err)
			}
			var before, after rights
			d := json.NewDecoder(bytes.NewReader(out))
			if err = d.Decode(&before); err == nil {
				err = d.Decode(&after)
			}
			if err != nil {
				t.Fatalf("%v: %s%s", err, out, readAll(cmd.Stderr))
			}
			want := after.Permitted &^ before.Permitted
			switch gives := user != 0 && !traced; {
			case !gives || file == plainFile:
				if want != 0 {
					t.Errorf("the program has gained %#x, and could not", want)
				}
			case file == capFile && want != capOfFile, file == setuidFile && want&capOfFile == 0:
				t.Errorf("the program has gained %#x", want)
			}
			execs := 0
			for _, ev := range got {
				if ev.Kind != taskwatch.Exec || !slices.Contains(ev.Task.Argv, "gained") {
					continue
				}
				execs++
				x := ev.Extra
				if x == nil || !x.Given.Has(taskwatch.FieldCapsGained|taskwatch.FieldCapsSecure|taskwatch.FieldCapsPermitted) {
					t.Fatalf("missing %v", ev.Missing)
				}
				if x.CapsGained != want || x.CapsPermitted != after.Permitted || x.CapsSecure != after.Secure {
					t.Errorf("permitted %#x, gained %#x, secure %v; the program itself finds %#x, %#x, %v",
						x.CapsPermitted, x.CapsGained, x.CapsSecure, after.Permitted, want, after.Secure)
				}
			}
			if execs != 1 {
				t.Errorf("%d execs of the file", execs)
			}
		})
	}
}
