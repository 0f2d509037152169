package ptrace

import (
	"encoding/binary"
	"testing"

	"golang.org/x/sys/unix"
)

// FuzzRegs: any register set is decoded or rejected, and what is decoded lies
// within it; after setResult the call is no call any more.
func FuzzRegs(f *testing.F) {
	f.Add(make([]byte, sizeRegs64))
	f.Add(make([]byte, sizeRegs32))
	f.Add([]byte{1, 2, 3})
	f.Fuzz(func(t *testing.T, b []byte) {
		call, err := decodeRegs(b)
		if known := len(b) == sizeRegs64 || len(b) == sizeRegs32; known != (err == nil) {
			t.Fatalf("%d bytes: error %v", len(b), err)
		}
		if err != nil {
			if setResult(b, unix.EPERM) == nil {
				t.Fatal("setResult took what decodeRegs rejected")
			}
			return
		}
		if call.word != 8 && call.word != 4 {
			t.Fatalf("a word of %d bytes", call.word)
		}
		if call.word == 4 && (call.args[0]|call.args[1]|call.sp|call.nr)>>32 != 0 {
			t.Fatalf("a 32-bit register holds more: %+v", call)
		}
		_ = syscallName(call.arch, call.nr)
		if err := setResult(b, unix.EPERM); err != nil {
			t.Fatal(err)
		}
	})
}

// vectors builds what the kernel leaves at the stack pointer.
func vectors(word, argc, envc int, auxv ...uint64) []byte {
	var b []byte
	put := func(v uint64) {
		if word == 8 {
			b = binary.LittleEndian.AppendUint64(b, v)
		} else {
			b = binary.LittleEndian.AppendUint32(b, uint32(v))
		}
	}
	put(uint64(argc))
	for i := range argc {
		put(uint64(0x1000 + i))
	}
	put(0)
	for i := range envc {
		put(uint64(0x2000 + i))
	}
	put(0)
	for _, v := range auxv {
		put(v)
	}
	return b
}

func TestVectorsEnd(t *testing.T) {
	for _, word := range []int{4, 8} {
		for _, test := range []struct{ argc, envc int }{{0, 0}, {1, 0}, {0, 3}, {5, 7}} {
			whole := vectors(word, test.argc, test.envc, atUID, 5, atNull, 0)
			argc, ok := vectorsEnd(whole, word)
			if !ok || argc != test.argc {
				t.Errorf("word %d, %d arguments, %d variables: got %d, %v", word, test.argc, test.envc, argc, ok)
			}
			for n := range len(whole) - word {
				if _, ok := vectorsEnd(whole[:n], word); ok {
					t.Errorf("word %d, %d arguments, %d variables: the end was found in the first %d of %d bytes", word, test.argc, test.envc, n, len(whole))
				}
			}
		}
	}
}

// FuzzVectors: whatever a hostile program could leave on a stack, the search
// for the end of the vectors stays inside and says where they are.
func FuzzVectors(f *testing.F) {
	f.Add(vectors(8, 2, 3, atUID, 0, atNull, 0), true)
	f.Add(vectors(4, 2, 3, atUID, 0, atNull, 0), false)
	f.Add([]byte{255, 255, 255, 255, 255, 255, 255, 255}, true)
	f.Fuzz(func(t *testing.T, b []byte, long bool) {
		word := 4
		if long {
			word = 8
		}
		argc, ok := vectorsEnd(b, word)
		if ok && (argc+4)*word > len(b) {
			t.Fatalf("%d arguments found in %d bytes", argc, len(b))
		}
	})
}

func TestCommOf(t *testing.T) {
	for file, want := range map[string]string{
		"/usr/bin/true": "true", "true": "true", "./a-name-longer-than-15": "a-name-longer-t",
		"/dev/fd/3": "", "": "", "dir/": "",
	} {
		if got := commOf(file); got != want {
			t.Errorf("commOf(%q) = %q, want %q", file, got, want)
		}
	}
}
