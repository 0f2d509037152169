package cnproc

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

func TestMain(m *testing.M) {
	if os.Getenv(asNobody) != "" {
		os.Exit(openOnce())
	}
	testutil.Main(m)
}

// golden are messages as Linux 6.18 sent them on x86-64; of the answer, the
// time is left out.
var golden = []struct {
	name string
	hex  string
	want Record
}{
	{"Exit", "4c00000003000000ea780100000000000100000001000000ea7801000000000028000000" +
		"0000008001000000b49ec144aa020000c63c0000c63c000000000000110000008b3c00008b3c0000",
		Record{What: Exit, CPU: 1, Seq: 96490, NS: 2930321235636, TID: 15558, PID: 15558, Code: 0, ParentTID: 15499, ParentPID: 15499}},
	{"Fork", "4c00000003000000eb780100000000000100000001000000eb7801000000000028000000" +
		"010000000100000088c6c244aa0200008b3c00008b3c0000c73c0000c73c00000000000000000000",
		Record{What: Fork, CPU: 1, Seq: 96491, NS: 2930321311368, TID: 15559, PID: 15559, ParentTID: 15499, ParentPID: 15499}},
	{"Exec", "4c00000003000000ec780100000000000100000001000000ec7801000000000028000000" +
		"02000000010000001d71c744aa020000c73c0000c73c000000000000000000000000000000000000",
		Record{What: Exec, CPU: 1, Seq: 96492, NS: 2930321617181, TID: 15559, PID: 15559}},
	{"Exit code", "4c00000003000000d1430100000000000100000001000000d14301000000000028000000" +
		"0000008000000000205a6d45aa020000da3c0000da3c00000001000011000000d93c0000d93c0000",
		Record{What: Exit, CPU: 0, Seq: 82897, NS: 2930332490272, TID: 15578, PID: 15578, Code: 256, ParentTID: 15577, ParentPID: 15577}},
	{"Comm", "4c000000030000002a4401000000000001000000010000002a4401000000000028000000" +
		"000200000000000080b4ea4aaa020000c93c0000c93c000061296200000000000000000000000000",
		Record{What: Comm, CPU: 0, Seq: 82986, NS: 2930424591488, TID: 15561, PID: 15561, Name: "a)b"}},
	{"Fork thread", "4c000000030000002b4401000000000001000000010000002b4401000000000028000000" +
		"010000000000000098e0eb4aaa020000bc3c0000bc3c0000673d0000c93c00000000000000000000",
		Record{What: Fork, CPU: 0, Seq: 82987, NS: 2930424668312, TID: 15719, PID: 15561, ParentTID: 15548, ParentPID: 15548}},
	{"GID", "4c000000030000002d4401000000000001000000010000002d4401000000000028000000" +
		"40000000000000000ae6ed4aaa020000c93c0000c93c000005000000050000000000000000000000",
		Record{What: GID, CPU: 0, Seq: 82989, NS: 2930424800778, TID: 15561, PID: 15561, Real: 5, Effective: 5}},
	{"UID", "4c000000030000002e4401000000000001000000010000002e4401000000000028000000" +
		"0400000000000000e626ee4aaa020000c93c0000c93c000006000000070000000000000000000000",
		Record{What: UID, CPU: 0, Seq: 82990, NS: 2930424817382, TID: 15561, PID: 15561, Real: 6, Effective: 7}},
	{"SID", "4c0000000300000030440100000000000100000001000000304401000000000028000000" +
		"8000000000000000ae25ff4aaa020000693d0000693d000000000000000000000000000000000000",
		Record{What: SID, CPU: 0, Seq: 82992, NS: 2930425931182, TID: 15721, PID: 15721}},
	{"CoreDump", "4c0000000300000031440100000000000100000001000000314401000000000028000000" +
		"000000400000000031e6ff4aaa020000693d0000693d0000c93c0000c93c00000000000000000000",
		Record{What: CoreDump, CPU: 0, Seq: 82993, NS: 2930425980465, TID: 15721, PID: 15721}},
	{"Ptrace", "4c0000000300000038440100000000000100000001000000384401000000000028000000" +
		"000100000000000004bd2a4baa020000713d0000713d00006d3d00006d3d00000000000000000000",
		Record{What: Ptrace, CPU: 0, Seq: 83000, NS: 2930428787972, TID: 15729, PID: 15729}},
	{"Answer", "4c00000003000000d79f0000000000000100000001000000d79f00000100000028000000" +
		"00000000000000000000000000000000000000000000000000000000000000000000000000000000",
		Record{What: Answer, CPU: 0, Seq: 0x9fd7, Ack: 1}},
}

// native returns a golden message as a kernel of this machine's byte order
// sends it.
func native(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	if binary.NativeEndian.Uint16([]byte{1, 0}) == 1 {
		return b
	}
	comm := binary.LittleEndian.Uint32(b[headerLen+cnLen:]) == 0x200
	for at := 0; at < len(b); {
		size := 4
		switch at {
		case 4, 6, headerLen + 16, headerLen + 18: // type and flags; length and flags
			size = 2
		case headerLen + cnLen + 8: // the time
			size = 8
		case headerLen + cnLen + 24: // the data's third word, where a name begins
			if comm {
				return b
			}
		}
		slices.Reverse(b[at : at+size])
		at += size
	}
	return b
}

func TestDecodeGolden(t *testing.T) {
	for _, tt := range golden {
		b := native(t, tt.hex)
		got, rest, err := Decode(b)
		if err != nil || got != tt.want || len(rest) != 0 {
			t.Errorf("%s: got %+v, %d bytes more, %v; want %+v", tt.name, got, len(rest), err, tt.want)
		}
		for n := range b {
			if _, _, err := Decode(b[:n]); !errors.Is(err, ErrShort) {
				t.Errorf("%s cut to %d bytes: %v", tt.name, n, err)
			}
		}
		twice := append(bytes.Clone(b), b...)
		if _, rest, err = Decode(twice); err != nil || !bytes.Equal(rest, b) {
			t.Errorf("%s, twice in a datagram: %d bytes more, %v", tt.name, len(rest), err)
		}
	}
}

// TestDecodeShortExit decodes an exit as kernels before 4.18 send it.
func TestDecodeShortExit(t *testing.T) {
	b := native(t, golden[0].hex)
	b = b[:len(b)-8]
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	binary.NativeEndian.PutUint16(b[headerLen+16:], uint16(len(b)-headerLen-cnLen))
	want := golden[0].want
	want.ParentPID, want.ParentTID = 0, 0
	if got, _, err := Decode(b); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
}

func TestDecodeForeign(t *testing.T) {
	good := native(t, golden[0].hex)
	for name, at := range map[string]int{"type": 4, "idx": headerLen, "val": headerLen + 4} {
		b := bytes.Clone(good)
		b[at]++
		if _, _, err := Decode(b); !errors.Is(err, errForeign) {
			t.Errorf("another %s: %v", name, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, tt := range golden {
		b := native(f, tt.hex)
		f.Add(b)
		f.Add(append(b, b...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for len(b) > 0 {
			r, rest, err := Decode(b)
			if err != nil {
				if r != (Record{}) || rest != nil {
					t.Fatalf("an error with %+v and %d bytes more", r, len(rest))
				}
				return
			}
			if len(rest) >= len(b) {
				t.Fatalf("%d bytes of %d remain", len(rest), len(b))
			}
			b = rest
		}
	})
}

// possible says whether this process may expect to be served. QEMU emulates no
// connector for single programs.
func possible() bool {
	return os.Geteuid() == 0 && os.Getenv("container") == "" && testutil.Emulator() == ""
}

func open(t testing.TB, size int) *Conn {
	t.Helper()
	c, err := Open(size)
	if err != nil {
		testutil.Skip(t, "the process connector: "+err.Error(), possible)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// TestReceive sees the fork, the exec and the exit of a child.
func TestReceive(t *testing.T) {
	c := open(t, 1<<20)
	if os.Geteuid() == 0 && c.BufferSize() != 1<<20 {
		t.Errorf("the buffer has %d bytes", c.BufferSize())
	}
	cmd := exec.Command("sh", "-c", "exit 3")
	if err := cmd.Run(); err == nil {
		t.Fatal("sh -c 'exit 3' succeeded")
	}
	pid := cmd.Process.Pid
	var seen []What
	for len(seen) < 3 {
		err := c.Receive(true, func(r *Record) {
			if r.TID != pid {
				return
			}
			if r.PID != pid || r.What == Fork && r.ParentPID != os.Getpid() || r.What == Exit && r.Code != 3<<8 {
				t.Errorf("%+v", *r)
			}
			seen = append(seen, r.What)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if seen[0] != Fork || seen[1] != Exec || seen[2] != Exit {
		t.Errorf("got %v", seen)
	}
}

// TestOverrun fills the smallest buffer.
func TestOverrun(t *testing.T) {
	c := open(t, 1)
	for range 200 {
		if err := exec.Command("true").Run(); err != nil {
			t.Fatal(err)
		}
	}
	overrun := false
	for {
		err := c.Receive(false, func(*Record) {})
		if errors.Is(err, ErrOverrun) {
			overrun = true
		} else if errors.Is(err, unix.EAGAIN) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if !overrun {
		t.Error("no overrun was reported")
	}
}

func TestInterrupt(t *testing.T) {
	c := open(t, 1<<20)
	time.AfterFunc(10*time.Millisecond, func() { c.Interrupt() })
	for {
		err := c.Receive(true, func(*Record) {})
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Receive(true, func(*Record) {}); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("after the interrupt: %v", err)
	}
}

// asNobody makes this test binary open the connector once and end.
const asNobody = "TASKWATCH_TEST_OPEN"

func openOnce() int {
	c, err := Open(16 << 20)
	switch {
	case errors.Is(err, errPermission):
		return 10
	case err != nil:
		os.Stderr.WriteString(err.Error() + "\n")
		return 1
	}
	if err := c.Close(); err != nil {
		return 1
	}
	return 0
}

// TestUnprivileged opens the connector as the user 65534: it works since
// Linux 6.6, and before that the error says so.
func TestUnprivileged(t *testing.T) {
	testutil.Root(t)
	open(t, 1<<20) // else there is nothing to deny
	new := testutil.NeedsKernel(6, 6).Met()
	cmd := exec.Command("/proc/self/exe") // the path of the test binary leads through root's directories
	cmd.Env = append(os.Environ(), asNobody+"=1")
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case new && err != nil:
		t.Errorf("a new kernel denies it: %v", err)
	case !new && (!errors.As(err, &exit) || exit.ExitCode() != 10):
		t.Errorf("an old kernel says %v, want exit status 10", err)
	}
}
