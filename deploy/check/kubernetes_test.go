package check

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// read decodes a file into the type that Kubernetes has for it. A field that
// there is not, or of another type, is an error.
func read(t *testing.T, name string, into any) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("../kubernetes", name))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict(b, into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

func TestDaemonSet(t *testing.T) {
	var set appsv1.DaemonSet
	read(t, "daemonset.yaml", &set)
	if set.APIVersion != "apps/v1" || set.Kind != "DaemonSet" {
		t.Errorf("it is a %s %s", set.APIVersion, set.Kind)
	}
	pod := set.Spec.Template
	for key, value := range set.Spec.Selector.MatchLabels {
		if pod.Labels[key] != value {
			t.Errorf("the selector wants %s=%s, and the pods have %q", key, value, pod.Labels[key])
		}
	}
	volumes := map[string]bool{}
	for _, v := range pod.Spec.Volumes {
		volumes[v.Name] = true
	}
	for _, c := range pod.Spec.Containers {
		for _, m := range c.VolumeMounts {
			if !volumes[m.Name] {
				t.Errorf("there is no volume %s", m.Name)
			}
		}
		s := c.SecurityContext
		if s == nil || s.Privileged != nil || s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation ||
			s.Capabilities == nil || !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) {
			t.Errorf("%s has more privileges than it needs: %+v", c.Name, s)
		}
	}
}

func TestKustomization(t *testing.T) {
	var namespace corev1.Namespace
	read(t, "namespace.yaml", &namespace)
	var k struct {
		APIVersion         string   `json:"apiVersion"`
		Kind               string   `json:"kind"`
		Namespace          string   `json:"namespace"`
		Resources          []string `json:"resources"`
		ConfigMapGenerator []struct {
			Name  string   `json:"name"`
			Files []string `json:"files"`
		} `json:"configMapGenerator"`
		Images []struct {
			Name    string `json:"name"`
			NewName string `json:"newName"`
			NewTag  string `json:"newTag"`
		} `json:"images"`
	}
	read(t, "kustomization.yaml", &k)
	if k.Namespace != namespace.Name {
		t.Errorf("the namespace is %s, and that of the kustomization %s", namespace.Name, k.Namespace)
	}
	files := k.Resources
	for _, g := range k.ConfigMapGenerator {
		files = append(files, g.Files...)
	}
	for _, f := range files {
		if _, err := os.Stat(filepath.Join("../kubernetes", f)); err != nil {
			t.Error(err)
		}
	}
}
