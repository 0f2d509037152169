package audit

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// append appends the lines of a record with a stamp.
func (e *moduleRecord) append(b []byte, stamp string) []byte {
	if e.Kind == kindAbend {
		return e.appendAbend(b, stamp)
	}
	b = append(b, "type=SYSCALL msg="+stamp...)
	if e.Arch != 0 {
		b = fmt.Appendf(b, "arch=%x syscall=%d ", e.Arch, e.Call)
	}
	if e.HasResult != 0 {
		b = fmt.Appendf(b, "success=yes exit=%d ", e.Result)
	}
	if e.call == nil {
		// ausearch takes no record without these two; a question mark is what audit
		// writes for what is not known.
		b = append(b, "a0=? a1=? "...)
	}
	for i, v := range e.call {
		b = fmt.Appendf(b, "a%d=%x ", i, v)
	}
	items := 0
	if e.name != nil {
		items = 1
	}
	b = fmt.Appendf(b, "items=%d ppid=%d pid=%d auid=%d uid=%d gid=%d euid=%d suid=%d fsuid=%d egid=%d sgid=%d fsgid=%d ",
		items, e.PPID, e.PID, e.AUID, e.UID[0], e.GID[0], e.UID[1], e.UID[2], e.UID[3], e.GID[1], e.GID[2], e.GID[3])
	if e.tty != nil && !bytes.ContainsFunc(e.tty, special) {
		b = fmt.Appendf(b, "tty=%s ", e.terminal())
	}
	b = fmt.Appendf(b, "ses=%d", e.Session)
	b = appendText(b, " comm=", e.comm)
	b = appendText(b, " exe=", e.exe)
	if len(e.key) > 0 {
		b = appendText(b, " key=", e.key)
	} else {
		b = append(b, " key=(null)"...)
	}
	b = append(b, '\n')
	if e.Kind != kindExec {
		return b
	}
	if e.ArgsLen >= 0 {
		b = fmt.Appendf(b, "type=EXECVE msg=%sargc=%d", stamp, e.Argc)
		for i, arg := range e.args {
			b = appendText(b, " a"+strconv.Itoa(i)+"=", arg)
		}
		b = append(b, '\n')
	}
	if e.cwd != nil {
		b = append(appendText(b, "type=CWD msg="+stamp+"cwd=", e.cwd), '\n')
	}
	if e.name != nil {
		b = append(appendText(b, "type=PATH msg="+stamp+"item=0 name=", e.name), " nametype=NORMAL\n"...)
	}
	if len(e.args) > 0 {
		b = append(appendText(b, "type=PROCTITLE msg="+stamp+"proctitle=", e.title()), '\n')
	}
	return b
}

// appendAbend appends the line of an end by a signal that dumps core.
func (e *moduleRecord) appendAbend(b []byte, stamp string) []byte {
	b = fmt.Appendf(b, "type=ANOM_ABEND msg=%sauid=%d uid=%d gid=%d ses=%d pid=%d", stamp, e.AUID, e.UID[0], e.GID[0], e.Session, e.PID)
	b = appendText(b, " comm=", e.comm)
	b = appendText(b, " exe=", e.exe)
	return fmt.Appendf(b, " sig=%d res=1\n", e.Status&0x7f)
}

// title returns the first 128 bytes of the arguments, as PROCTITLE has them: an
// empty one as the kernel writes it.
func (e *moduleRecord) title() []byte {
	const size = 128
	title := bytes.Join(e.args, []byte{0})
	if len(title) == 0 {
		return []byte("(null)")
	}
	return title[:min(len(title), size)]
}

// terminal returns the name as the kernel has it: pts0 and not pts/0.
func (e *moduleRecord) terminal() string {
	if len(e.tty) == 0 {
		return "(none)"
	}
	return strings.Replace(string(e.tty), "/", "", 1)
}

// appendText appends a field whose text users choose: in quotes, or in
// hexadecimal if there are characters that would end it. One that is unknown is
// left out.
func appendText(b []byte, name string, text []byte) []byte {
	if text == nil {
		return b
	}
	b = append(b, name...)
	if bytes.ContainsFunc(text, special) {
		return append(b, strings.ToUpper(hex.EncodeToString(text))...)
	}
	b = append(b, '"')
	b = append(b, text...)
	return append(b, '"')
}

// special reports whether a character may not stand in a field as it is.
func special(c rune) bool { return c == '"' || c < 0x21 || c > 0x7e }
