package main

import (
	"reflect"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/taskwatch/taskwatch/daemon/api"
	"github.com/taskwatch/taskwatch/module/host"
)

// jsonNames adds the names that a type has in JSON, those of the structs in it
// included.
func jsonNames(t reflect.Type, names map[string]bool) {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice:
		jsonNames(t.Elem(), names)
	case reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)
			if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" {
				names[name] = true
			}
			jsonNames(f.Type, names)
		}
	}
}

// One thing has one name in JSON, whatever shows it: lsmod and modinfo what the
// daemon's interface does, and of a file what modinfo shows of a module.
func TestNamesOfModulesInJSON(t *testing.T) {
	served := map[string]bool{}
	for _, m := range []protoreflect.ProtoMessage{
		&api.Module{}, &api.Calls{}, &api.InfoResponse{}, &api.Watcher{}, &api.Param{}, &api.Global{}, &api.MapInfo{},
	} {
		fields := m.ProtoReflect().Descriptor().Fields()
		for i := range fields.Len() {
			served[fields.Get(i).JSONName()] = true
		}
	}
	// globals is the response that has nothing else, and globals_unread its error.
	served["globals"], served["globals_unread"] = true, true
	shown := map[string]bool{}
	jsonNames(reflect.TypeFor[loadedDescription](), shown)
	if !shown["name"] || !shown["mean_ns"] || !shown["function"] {
		t.Fatalf("modinfo shows only %v", shown)
	}
	for name := range shown {
		if !served[name] {
			t.Errorf("modinfo or lsmod calls something %q, and the interface has no such name: %v", name, served)
		}
	}
	file := map[string]bool{}
	jsonNames(reflect.TypeFor[host.Info](), file)
	for _, own := range []string{"maps", "key_size", "value_size", "max_entries", "memory_bytes", "reads", "unread"} { // what only a file is asked for
		if !file[own] {
			t.Errorf("a file has no %q: %v", own, file)
		}
		delete(file, own)
	}
	for name := range file {
		if !shown[name] {
			t.Errorf("of a file something is called %q, and modinfo has no such name: %v", name, shown)
		}
	}
}
