package daemon

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

// The dashboard and the alerts ask for metrics that there are.
func TestDeployedMetrics(t *testing.T) {
	testutil.Require(t, testutil.NeedsSource("../deploy"))
	name := regexp.MustCompile(`fqName: "(taskwatch_[a-z0-9_]+)"`)
	exist := map[string]bool{}
	for _, d := range allMetrics {
		m := name.FindStringSubmatch(d.String())
		if m == nil {
			t.Fatalf("no name in %s", d)
		}
		exist[m[1]] = true
	}
	for _, file := range []string{"../deploy/prometheus/taskwatch.rules.yaml", "../deploy/grafana/taskwatch.json"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		asked := regexp.MustCompile(`taskwatch_[a-z0-9_]+`).FindAllString(string(text), -1)
		if len(asked) < 5 {
			t.Errorf("%s asks for %d metrics", file, len(asked))
		}
		for _, metric := range asked {
			if !exist[metric] && !exist[strings.TrimSuffix(metric, "_bucket")] { // of a histogram
				t.Errorf("%s asks for %s, which there is not", file, metric)
			}
		}
	}
}
