package export

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/sink/perfetto"
)

func perfettoTrace(t *testing.T) []byte {
	t.Helper()
	var out bytes.Buffer
	export(t, perfetto.New(&out))
	return out.Bytes()
}

func TestPerfetto(t *testing.T) {
	var trace perfetto.Trace
	if err := proto.Unmarshal(perfettoTrace(t), &trace); err != nil {
		t.Fatal(err)
	}
	tr := truthOf(t)
	var (
		list             []slice
		open             = map[uint64]*perfetto.TrackEvent{}
		since            = map[uint64]int64{}
		tracks           = map[uint64]*perfetto.TrackDescriptor{}
		flows, terminate = map[uint64]int{}, map[uint64]int{}
		counters         int
		last             int64
		final            int64 = -1
	)
	for i, p := range trace.Packet {
		if p.GetTrustedPacketSequenceId() == 0 || (i == 0) != (p.GetSequenceFlags() == 1) {
			t.Fatalf("packet %d: sequence %d, flags %d", i, p.GetTrustedPacketSequenceId(), p.GetSequenceFlags())
		}
		if d := p.TrackDescriptor; d != nil {
			if tracks[d.GetUuid()] != nil || d.ParentUuid != nil && tracks[d.GetParentUuid()] == nil {
				t.Errorf("track %v comes twice, or before its parent", d)
			}
			tracks[d.GetUuid()] = d
		}
		e := p.TrackEvent
		if e == nil {
			continue
		}
		if p.GetTimestampClockId() != 3 {
			t.Fatalf("packet %d: clock %d, want that of CLOCK_MONOTONIC", i, p.GetTimestampClockId())
		}
		id, ns := e.GetTrackUuid(), int64(p.GetTimestamp())
		if tracks[id] == nil {
			t.Errorf("an event is on track %d, which is not known", id)
		}
		last = max(last, ns)
		for _, f := range e.FlowIds {
			flows[f]++
		}
		for _, f := range e.TerminatingFlowIds {
			terminate[f]++
		}
		switch e.GetType() {
		case perfetto.TrackEvent_TYPE_SLICE_BEGIN:
			if open[id] != nil {
				t.Errorf("track %d: %v begins within %v", id, e, open[id])
			}
			open[id], since[id] = e, ns
		case perfetto.TrackEvent_TYPE_SLICE_END:
			b := open[id]
			if b == nil {
				t.Fatalf("track %d: an end without a beginning", id)
			}
			delete(open, id)
			pid := slices.IndexFunc(b.DebugAnnotations, func(d *perfetto.DebugAnnotation) bool { return d.GetName() == "pid" })
			list = append(list, slice{id, b.GetName(), int(b.DebugAnnotations[pid].GetIntValue()), since[id], ns})
		case perfetto.TrackEvent_TYPE_COUNTER:
			counters++
			final = e.GetCounterValue()
		}
	}
	if len(open) != 0 {
		t.Errorf("%d slices have no end", len(open))
	}
	checkSlices(t, tr, list)
	if len(flows) != tr.forks || len(terminate) != tr.forks || counters < 2*tr.forks || final != 0 {
		t.Errorf("%d flows, %d ends of flows, %d counts of which the last is %d; there were %d forks", len(flows), len(terminate), counters, final, tr.forks)
	}
}

// published returns the directory and the name of Perfetto's perfetto_trace.proto.
func published(t *testing.T) (dir, name string) {
	t.Helper()
	file := os.Getenv("PERFETTO_TRACE_PROTO")
	testutil.Require(t, testutil.Need{
		What:   "Perfetto's published perfetto_trace.proto",
		Remedy: "have PERFETTO_TRACE_PROTO name protos/perfetto/trace/perfetto_trace.proto of its repository",
		Met:    func() bool { _, err := os.Stat(file); return err == nil },
	})
	return filepath.Dir(file), filepath.Base(file)
}

// numbers is a digest of all names, numbers and types of ours, as they were when
// [TestPerfettoNumbers] found them to be the published ones (protos of
// 2026-08-22). It is not to be changed without that.
const numbers = "5ca5f6aa3ee289dc97e4106d5869492d609140825b315820f004e5742bf22c28"

// eachNumber calls back for each field and value of ours.
func eachNumber(field func(protoreflect.FieldDescriptor), value func(protoreflect.EnumValueDescriptor)) {
	enum := func(e protoreflect.EnumDescriptor) {
		for i := range e.Values().Len() {
			value(e.Values().Get(i))
		}
	}
	var message func(protoreflect.MessageDescriptor)
	message = func(m protoreflect.MessageDescriptor) {
		for i := range m.Fields().Len() {
			field(m.Fields().Get(i))
		}
		for i := range m.Messages().Len() {
			message(m.Messages().Get(i))
		}
		for i := range m.Enums().Len() {
			enum(m.Enums().Get(i))
		}
	}
	file := perfetto.File_trace_proto
	for i := range file.Messages().Len() {
		message(file.Messages().Get(i))
	}
	for i := range file.Enums().Len() {
		enum(file.Enums().Get(i))
	}
}

// No number has changed since they were compared with the published ones, where
// those cannot be had.
func TestPerfettoNumbersAreThoseCompared(t *testing.T) {
	var lines []string
	eachNumber(func(f protoreflect.FieldDescriptor) {
		lines = append(lines, fmt.Sprintln(f.FullName(), f.Number(), f.Kind(), f.Cardinality()))
	}, func(v protoreflect.EnumValueDescriptor) {
		lines = append(lines, fmt.Sprintln(v.FullName(), v.Number()))
	})
	slices.Sort(lines)
	if got := fmt.Sprintf("%x", sha256.Sum256([]byte(strings.Join(lines, "")))); got != numbers {
		t.Errorf("the digest of the schema is %s, and was %s when it was compared with the published one.\n"+
			"Run TestPerfettoNumbers with PERFETTO_TRACE_PROTO, and if it passes, write the new digest down.", got, numbers)
	}
}

// Every field and value of ours is the published one.
func TestPerfettoNumbers(t *testing.T) {
	dir, name := published(t)
	protoc := testutil.RequireTool(t, "protoc")
	set := filepath.Join(t.TempDir(), "set")
	if out, err := exec.Command(protoc, "-I", dir, "--descriptor_set_out="+set, name).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	b, err := os.ReadFile(set)
	if err != nil {
		t.Fatal(err)
	}
	var files descriptorpb.FileDescriptorSet
	if err := proto.Unmarshal(b, &files); err != nil {
		t.Fatal(err)
	}
	reg, err := protodesc.NewFiles(&files)
	if err != nil {
		t.Fatal(err)
	}
	theirs := func(of protoreflect.Descriptor) protoreflect.Descriptor {
		d, err := reg.FindDescriptorByName("perfetto.protos" + of.FullName()[len("taskwatch.perfetto"):])
		if err != nil {
			t.Errorf("%s is not published: %v", of.FullName(), err)
		}
		return d
	}
	compared := 0
	eachNumber(func(f protoreflect.FieldDescriptor) {
		compared++
		m, _ := theirs(f.Parent()).(protoreflect.MessageDescriptor)
		if m == nil {
			return
		}
		if o := m.Fields().ByName(f.Name()); o == nil || o.Number() != f.Number() || o.Kind() != f.Kind() || o.IsList() != f.IsList() {
			t.Errorf("%s = %d: published is %v", f.FullName(), f.Number(), o)
		}
	}, func(v protoreflect.EnumValueDescriptor) {
		compared++
		e, _ := theirs(v.Parent()).(protoreflect.EnumDescriptor)
		if e == nil {
			return
		}
		if o := e.Values().ByName(v.Name()); o == nil || o.Number() != v.Number() {
			t.Errorf("%s = %d: published is %v", v.FullName(), v.Number(), o)
		}
	})
	if compared < 30 {
		t.Errorf("only %d fields and values were compared", compared)
	}
}

// protoc reads the trace by the published schema, and knows every field.
func TestPerfettoIsReadByProtoc(t *testing.T) {
	dir, name := published(t)
	cmd := exec.Command(testutil.RequireTool(t, "protoc"), "-I", dir, "--decode=perfetto.protos.Trace", name)
	cmd.Stdin = bytes.NewReader(perfettoTrace(t))
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if unknown := regexp.MustCompile(`(?m)^ *[0-9]+[:{ ].*$`).FindAllString(string(out), 3); unknown != nil {
		t.Errorf("fields that Perfetto does not know: %q", unknown)
	}
	tr := truthOf(t)
	if got := strings.Count(string(out), "type: TYPE_SLICE_BEGIN"); got != len(tr.spans) {
		t.Errorf("protoc sees %d slices, want %d", got, len(tr.spans))
	}
}

// Perfetto's own program counts the slices.
func TestPerfettoTraceProcessor(t *testing.T) {
	processor := os.Getenv("TRACE_PROCESSOR")
	testutil.Require(t, testutil.Need{
		What: "Perfetto's trace_processor", Remedy: "have TRACE_PROCESSOR name trace_processor_shell",
		Met: func() bool { _, err := exec.LookPath(processor); return err == nil },
	})
	file := filepath.Join(t.TempDir(), "b.pftrace")
	if err := os.WriteFile(file, perfettoTrace(t), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(processor, "-Q", "select count(*) as n from slice where dur > 0", file).Output()
	if err != nil {
		t.Fatal(err)
	}
	if want := strconv.Itoa(len(truthOf(t).spans)); !slices.Contains(strings.Fields(string(out)), want) {
		t.Errorf("trace_processor says\n%s, want %s slices", out, want)
	}
}
