// Command gen writes the numbers that the programs in the kernel and their
// reader share: constants.h for C, constants.go for Go. Run it by 'go generate
// ./source/bpf'.
package main

import (
	"bytes"
	"fmt"
	"go/format"
	"log"
	"os"
	"strings"

	"github.com/taskwatch/taskwatch"
)

// constant is one number. Its value is its place in its set.
type constant struct {
	c, golang string
	doc       string
}

// set is an enumeration, or, if bits is set, one bit for each constant.
type set struct {
	doc    string
	c      string // the enum's tag, or ""
	golang string // the type, or "" for untyped constants
	bits   bool
	list   []constant
}

var sets = []set{
	{"What a record is. The first ones are those of taskwatch.Kind.", "tw_kind", "recordKind", false, append(kinds(), []constant{
		{"TW_ARGV", "recordArgv", "a piece of the argv of the exec that follows"},
		{"TW_CGROUP", "recordCgroup", "the path of a cgroup, before its first use"},
		{"TW_TASK", "recordTask", "a task found by the iterator"},
		{"TW_REPORT", "recordReport", "an error of a watcher in the kernel"},
		{"TW_EMIT", "recordEmit", "a module's own record: val is the module's id"},
		{"TW_EXTRA", "recordExtra", "the optional fields of the record that follows of the same task"},
		{"TW_CWD", "recordCwd", "a working directory, before the first record that has its number"},
		{"TW_PROGRAM", "recordProgram", "path from the outermost root, and environment, of the exec that follows"},
		{"TW_FAILED", "recordFailed", "an exec that failed: val is the error number, exe the path as it was given"},
		{"TW_ABOUT", "recordAbout", "what is not known of the task of the report or the module's record that follows"},
		{"TW_KINDS", "numRecordKinds", ""},
	}...)},
	{"What else is known of a record.", "tw_flags", "recordFlags", true, []constant{
		{"TW_GROUP", "flagGroup", "exit: no thread of the process is alive"},
		{"TW_NO_MAXRSS", "flagNoMaxRSS", "exit: the high-water mark could not be read"},
		{"TW_NO_IO", "flagNoIO", "exit: the kernel does not account I/O"},
		{"TW_EXE_CUT", "flagExeCut", "the path is longer than there is room for"},
		{"TW_CWD_CUT", "flagCwdCut", ""},
		{"TW_EXE_GONE", "flagExeGone", "the file has no name any more"},
		{"TW_CWD_GONE", "flagCwdGone", ""},
		{"TW_ARGV_CUT", "flagArgvCut", "part of argv could not be read or sent"},
		{"TW_KTHREAD", "flagKthread", ""},
		{"TW_EXITED", "flagExited", "task: it is past its exit event"},
		{"TW_WANTED", "flagWanted", "report: an exec that was only asked for"},
		{"TW_ARGV_LEFT", "flagArgvLeft", "nobody wants argv, or it cannot be read"},
		{"TW_NO_USAGE", "flagNoUsage", "exit: nobody wants what is behind rec, and it is not there"},
		{"TW_EXITING", "flagExiting", "task: it is on its way to its exit event, or just behind"},
	}},
	{"What a TW_EXTRA has.", "", "", true, []constant{
		{"TW_HAS_AUDIT", "hasAudit", "auid and sessionid"},
		{"TW_HAS_NS", "hasNS", "ns_mnt and ns_net"},
		{"TW_HAS_PID", "hasPID", "ns_pid and vpid"},
		{"TW_HAS_EXE", "hasExe", "exe_ino and exe_dev"},
		{"TW_HAS_GROUPS", "hasGroups", "ngroups and groups"},
		{"TW_HAS_SECURE", "hasSecure", "secure"},
		{"TW_HAS_GAINED", "hasGained", "gained"},
		{"TW_HAS_LABEL", "hasLabel", "label and label_form: a module has labels"},
	}},
	{"Which tasks are watched.", "", "", false, []constant{
		{"SCOPE_MACHINE", "scopeMachine", ""},
		{"SCOPE_CGROUP", "scopeCgroup", ""},
		{"SCOPE_TREE", "scopeTree", ""},
		{"SCOPE_CHOSEN", "scopeChosen", "those that somebody may want, from the first time on"},
	}},
	{"By what tasks are chosen.", "", "", true, []constant{
		{"CHOSEN_UID", "chosenUID", "the real user id"},
		{"CHOSEN_PID", "chosenPID", ""},
		{"CHOSEN_COMM", "chosenComm", ""},
		{"CHOSEN_CGROUP", "chosenCgroup", "its id"},
	}},
	{"What wakes the reader up.", "", "", false, []constant{
		{"ARMED_NOT", "armedNot", ""},
		{"ARMED_FULL", "armedFull", "the buffer being as full as wake_bytes says"},
		{"ARMED_ANY", "armedAny", "any record"},
	}},
	{"The groups of fields that are gathered only where somebody reads them.", "", "", true, []constant{
		{"WANT_EXE", "wantExe", ""},
		{"WANT_CWD", "wantCwd", ""},
		{"WANT_ARGV", "wantArgv", ""},
		{"WANT_CGROUP", "wantCgroup", ""},
		{"WANT_USAGE", "wantUsage", ""},
		{"WANT_EXTRA", "wantExtra", ""},
		{"WANT_ENV", "wantEnv", ""},
		{"WANT_HOST", "wantHost", ""},
		{"WANT_GAINED", "wantGained", ""},
		{"WANT_LABEL", "wantLabel", ""},
	}},
}

// sizes are numbers of their own.
var sizes = []struct {
	constant
	value int
}{
	{constant{"TW_GROUPS", "maxGroups", "supplementary groups that a TW_EXTRA has room for"}, 64},
	{constant{"ARGV_CHUNK", "argvChunk", "bytes of argv in one record"}, 16384},
	{constant{"ARGV_CHUNKS", "argvChunks", "pieces before the last that a long argv is sent in"}, 8},
	{constant{"PLACE_HIERARCHY", "placeHierarchy", "the first bit of the hierarchy in the id of a cgroup"}, 48},
	{constant{"DIR_BITS", "dirBits", "of the number of a working directory say which place it has"}, 10},
	{constant{"CHOICES", "maxChoices", "values that tasks can be chosen by"}, 256},
	{constant{"SYSCALL_WORDS", "syscallWords", "of 64 bits, in a set of system call numbers"}, 8},
}

// control is the page that both map: its words, each of 32 bits unless it is
// wide.
var control = []struct {
	c, golang string
	wide      bool
	doc       string
}{
	{"kinds", "controlKinds", false, "the kinds somebody watches"},
	{"armed", "controlArmed", false, "what wakes the reader up"},
	{"lost", "controlLost", false, ""},
	{"dropped", "controlDropped", false, ""},
	{"seed_tid", "controlSeed", false, "children of this task are roots of SCOPE_TREE"},
	{"killing", "controlKilling", false, "SCOPE_TREE is to die"},
	{"named", "controlNamed", true, "the cgroup that was looked up last and is among cgroups"},
	{"cgroup", "controlCgroup", true, "the id of the cgroup of SCOPE_CGROUP"},
	{"wanted", "controlWanted", false, "the groups of fields that somebody reads"},
	{"placed", "controlPlaced", false, "the kinds of record of which somebody reads cwd"},
	{"command", "", false, "the process that the seed has made: the root of SCOPE_TREE"},
	{"entered", "controlEntered", false, "tasks that the iterator has found to be of SCOPE_TREE"},
	{"choice", "controlChoice", false, "by what the tasks of SCOPE_CHOSEN are chosen; all are, where it is 0"},
	{"spare", "", false, "whether a mark may be among spare"},
	{"unmarked", "controlUnmarked", false, "how often a mark could not be kept, or not be looked for to the end"},
	{"untold", "controlUntold", false, "new tasks that the program of init was not called for: see count_init"},
}

// kinds are those of the library, in its order.
func kinds() (list []constant) {
	for k := range taskwatch.Kind(taskwatch.NumKinds) {
		name := k.String()
		golang := strings.ToUpper(name[:1]) + name[1:]
		if k == taskwatch.UID || k == taskwatch.GID {
			golang = strings.ToUpper(name)
		}
		list = append(list, constant{"TW_" + strings.ToUpper(name), "record" + golang, ""})
	}
	return list
}

func comment(b *bytes.Buffer, open, text, end string) {
	if text != "" {
		fmt.Fprintf(b, " %s %s%s", open, text, end)
	}
	b.WriteByte('\n')
}

func (s set) value(i int) int {
	if s.bits {
		return 1 << i
	}
	return i
}

func header() []byte {
	var b bytes.Buffer
	b.WriteString("/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */\n")
	b.WriteString("/* Code generated by source/bpf/gen; DO NOT EDIT. */\n")
	b.WriteString("#ifndef TASKWATCH_STREAM_CONSTANTS_H\n#define TASKWATCH_STREAM_CONSTANTS_H\n")
	for _, s := range sets {
		fmt.Fprintf(&b, "\n/* %s */\nenum", s.doc)
		if s.c != "" {
			b.WriteString(" " + s.c)
		}
		b.WriteString(" {\n")
		for i, c := range s.list {
			fmt.Fprintf(&b, "\t%s = %d,", c.c, s.value(i))
			comment(&b, "/*", c.doc, " */")
		}
		b.WriteString("};\n")
	}
	b.WriteByte('\n')
	for _, s := range sizes {
		fmt.Fprintf(&b, "#define %s %d", s.c, s.value)
		comment(&b, "/*", s.doc, " */")
	}
	b.WriteString("\n/* What the programs and their reader share. The reader maps its page. */\nstruct control {\n")
	for _, w := range control {
		typ := "u32"
		if w.wide {
			typ = "u64"
		}
		fmt.Fprintf(&b, "\t%s %s;", typ, w.c)
		comment(&b, "/*", w.doc, " */")
	}
	b.WriteString("};\n\n#endif\n")
	return b.Bytes()
}

func golang() ([]byte, error) {
	var b bytes.Buffer
	b.WriteString("// Code generated by source/bpf/gen; DO NOT EDIT.\n\npackage bpf\n")
	for _, s := range sets {
		fmt.Fprintf(&b, "\n// %s\nconst (\n", s.doc)
		for i, c := range s.list {
			fmt.Fprintf(&b, "%s %s = %d", c.golang, s.golang, s.value(i))
			comment(&b, "//", c.doc, "")
		}
		b.WriteString(")\n")
	}
	b.WriteString("\nconst (\n")
	for _, s := range sizes {
		fmt.Fprintf(&b, "%s = %d", s.golang, s.value)
		comment(&b, "//", s.doc, "")
	}
	b.WriteString(")\n\n// The words of struct control, by their place in its page.\nconst (\n")
	word := 0
	for _, w := range control {
		if w.wide {
			word += word % 2
		}
		if w.golang != "" {
			fmt.Fprintf(&b, "%s = %d", w.golang, word)
			comment(&b, "//", w.doc, "")
		}
		word++
		if w.wide {
			word++
		}
	}
	b.WriteString(")\n")
	return format.Source(b.Bytes())
}

func main() {
	log.SetFlags(0)
	text, err := golang()
	if err != nil {
		log.Fatal(err)
	}
	for name, content := range map[string][]byte{"c/constants.h": header(), "constants.go": text} {
		if err := os.WriteFile(name, content, 0o644); err != nil {
			log.Fatal(err)
		}
	}
}
