package main

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/taskwatch/taskwatch/daemon/api"
	"github.com/taskwatch/taskwatch/module/host"
)

// What shows modules shows each thing under one name and as one type: the files of
// modules, lsmod and modinfo, and the daemon's interface, where protobuf writes 64
// bits as a string, and a value of any type is JSON text.
func TestModulesHaveOneNameForAThing(t *testing.T) {
	for _, c := range []struct {
		shown any
		sent  []proto.Message // whose fields it shows together
		file  any             // what a file says of it, or nil

		only  []string // of shown: names that the interface does not have
		inner []string // of sent: fields that hold others
	}{
		{
			shown: listedModule{}, sent: []proto.Message{&api.Module{}, &api.Calls{}},
			inner: []string{"calls", "timed"}, // without a time, calls are null
		},
		{
			shown: loadedDescription{}, sent: []proto.Message{&api.Module{}, &api.Calls{}, &api.InfoResponse{}, &api.GlobalsResponse{}}, file: host.Info{},
			only: []string{"globals_unread"}, inner: []string{"module", "timed"},
		},
		{shown: loadedWatcher{}, sent: []proto.Message{&api.Watcher{}, &api.Calls{}}, file: host.Watcher{}, inner: []string{"timed"}},
		{shown: loadedParam{}, sent: []proto.Message{&api.Param{}}, file: host.Param{}},
		{shown: loadedGlobal{}, sent: []proto.Message{&api.Global{}}},
		{shown: host.Map{}, sent: []proto.Message{&api.MapInfo{}}, file: host.Map{}},
	} {
		name := reflect.TypeOf(c.shown).Name()
		shown, sent := map[string]string{}, map[string]string{}
		namesOf(reflect.TypeOf(c.shown), shown)
		for _, m := range c.sent {
			fields := m.ProtoReflect().Descriptor().Fields()
			for i := range fields.Len() {
				if f := fields.Get(i); !slices.Contains(c.inner, f.JSONName()) || f.Message() == nil && f.JSONName() != "timed" {
					sent[f.JSONName()] = sentAs(f)
				}
			}
		}
		for n, typ := range shown {
			got, there := sent[n]
			if there == slices.Contains(c.only, n) || there && got != typ && (typ != "any" || got != "string") {
				t.Errorf("%s shows %s as %s; in the interface it is %q", name, n, typ, got)
			}
		}
		for n, typ := range sent {
			if _, there := shown[n]; !there {
				t.Errorf("%s does not show %s, which is %s in the interface", name, n, typ)
			}
		}
		if c.file == nil {
			continue
		}
		file := map[string]string{}
		namesOf(reflect.TypeOf(c.file), file)
		for n, typ := range file {
			if got, there := shown[n]; there && got != typ {
				t.Errorf("%s shows %s as %s; of a file it is %s", name, n, got, typ)
			}
		}
		if len(file) < 2 {
			t.Errorf("%T has the names %v", c.file, file)
		}
	}
}

// namesOf adds the names in JSON of a struct, with their types.
func namesOf(s reflect.Type, names map[string]string) {
	for i := range s.NumField() {
		f := s.Field(i)
		if f.Anonymous {
			namesOf(f.Type, names)
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		names[name] = shownAs(f.Type)
	}
}

func shownAs(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[json.RawMessage](), t.Kind() == reflect.Interface:
		return "any"
	case t.Kind() == reflect.Pointer:
		return shownAs(t.Elem())
	case t.Kind() == reflect.Slice:
		return "list of " + shownAs(t.Elem())
	case t.Kind() == reflect.Struct:
		return "object"
	}
	return t.Kind().String()
}

func sentAs(f protoreflect.FieldDescriptor) string {
	typ := f.Kind().String()
	if f.Message() != nil {
		typ = "object"
	}
	if f.IsList() {
		return "list of " + typ
	}
	return typ
}
