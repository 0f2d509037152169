package check

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// made is what kubectl makes of a directory.
type made struct {
	namespace corev1.Namespace
	config    corev1.ConfigMap
	set       appsv1.DaemonSet
}

// makeOf returns what kubectl makes of a directory in ../ that has more files beside
// it. A field that Kubernetes does not have, or of another type, is an error.
func makeOf(t *testing.T, name string, more map[string]string) *made {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{"kubernetes", "kubernetes-fleet"} {
		if err := os.CopyFS(filepath.Join(dir, d), os.DirFS(filepath.Join("..", d))); err != nil {
			t.Fatal(err)
		}
	}
	for file, text := range more {
		if err := os.WriteFile(filepath.Join(dir, name, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	var m made
	into := map[string]any{"Namespace": &m.namespace, "ConfigMap": &m.config, "DaemonSet": &m.set}
	for _, r := range resources.Resources() {
		text, err := r.AsYAML()
		if err != nil {
			t.Fatal(err)
		}
		if into[r.GetKind()] == nil {
			t.Fatalf("there is a second %s, or one that nobody looks at", r.GetKind())
		}
		if err := yaml.UnmarshalStrict(text, into[r.GetKind()]); err != nil {
			t.Fatalf("%s: %v", r.GetKind(), err)
		}
		delete(into, r.GetKind())
	}
	if len(into) != 0 {
		t.Fatalf("these are not there: %v", into)
	}
	return &m
}

// check holds what is made to what is true of every DaemonSet of ours.
func (m *made) check(t *testing.T) {
	t.Helper()
	for _, namespace := range []string{m.set.Namespace, m.config.Namespace} {
		if namespace != m.namespace.Name {
			t.Errorf("the namespace is %s, and something is in %q", m.namespace.Name, namespace)
		}
	}
	pod := m.set.Spec.Template
	for key, value := range m.set.Spec.Selector.MatchLabels {
		if pod.Labels[key] != value {
			t.Errorf("the selector wants %s=%s, and the pods have %q", key, value, pod.Labels[key])
		}
	}
	volumes := map[string]bool{}
	for _, v := range pod.Spec.Volumes {
		volumes[v.Name] = true
		if v.ConfigMap != nil && v.ConfigMap.Name != m.config.Name {
			t.Errorf("the configuration is %s, and the pods want %s", m.config.Name, v.ConfigMap.Name)
		}
	}
	for _, c := range pod.Spec.Containers {
		for _, mount := range c.VolumeMounts {
			if !volumes[mount.Name] {
				t.Errorf("there is no volume %s", mount.Name)
			}
		}
		s := c.SecurityContext
		if s == nil || s.Privileged != nil || s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation ||
			s.Capabilities == nil || !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) {
			t.Errorf("%s has more privileges than it needs: %+v", c.Name, s)
		}
	}
	if m.config.Data["taskwatch.toml"] == "" {
		t.Error("there is no configuration")
	}
}

func TestDaemonSet(t *testing.T) {
	makeOf(t, "kubernetes", nil).check(t)
}

// As a node of a fleet, the daemon has a name and a directory that outlive its pod,
// and the key of those who say what is to run; everything else is as without one.
func TestDaemonSetOfFleet(t *testing.T) {
	m := makeOf(t, "kubernetes-fleet", map[string]string{"team.pub": "a key"})
	m.check(t)
	if m.config.Data["team.pub"] != "a key" {
		t.Errorf("the key is not in the configuration: %q", m.config.Data)
	}
	pod, alone := &m.set.Spec.Template.Spec, makeOf(t, "kubernetes", nil).set.Spec.Template.Spec
	c := &pod.Containers[0]
	if want := append(alone.Containers[0].Args, "--hub-name", "$(NODE_NAME)"); !slices.Equal(c.Args, want) {
		t.Errorf("the arguments are %q, want %q", c.Args, want)
	}
	if !slices.ContainsFunc(c.Env, func(e corev1.EnvVar) bool {
		return e.Name == "NODE_NAME" && e.ValueFrom != nil && e.ValueFrom.FieldRef != nil && e.ValueFrom.FieldRef.FieldPath == "spec.nodeName"
	}) {
		t.Errorf("NODE_NAME is not the name of the node: %+v", c.Env)
	}
	state := slices.IndexFunc(c.VolumeMounts, func(v corev1.VolumeMount) bool { return v.MountPath == "/var/lib/taskwatch" && !v.ReadOnly })
	if state < 0 || !slices.ContainsFunc(pod.Volumes, func(v corev1.Volume) bool {
		return v.Name == c.VolumeMounts[state].Name && v.HostPath != nil && v.HostPath.Path == "/var/lib/taskwatch"
	}) {
		t.Errorf("the state does not outlive the pod: %+v, %+v", c.VolumeMounts, pod.Volumes)
	}
	if got, want := len(c.VolumeMounts), len(alone.Containers[0].VolumeMounts)+1; got != want {
		t.Errorf("%d mounts, want %d", got, want)
	}
}
