package connector

import (
	"os"
	"testing"

	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/internal/watchtest"
)

func TestMain(m *testing.M) {
	if os.Getenv(asNobody) != "" {
		os.Exit(watchOnce())
	}
	testutil.ReapOrphans()
	testutil.Main(m)
}

func TestConformance(t *testing.T) {
	requireConnector(t)
	watchtest.Source(t, watchtest.Config{
		RealParent:  true,
		LeaderExecs: true,
		NoSetGroups: true,
		Short:       testing.Short(),
		New: func(t testing.TB, _ watchtest.Command) watchtest.Instance {
			ready := make(chan struct{})
			s, err := New(Config{OnReady: func() { close(ready) }})
			if err != nil {
				t.Fatal(err)
			}
			return watchtest.Instance{Source: s, Ready: ready}
		},
	})
}
