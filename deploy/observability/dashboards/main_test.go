package main

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDashboardFilesAreUpToDate(t *testing.T) {
	t.Parallel()
	for _, b := range boards {
		want, err := b.render()
		require.NoError(t, err)
		have, err := os.ReadFile(b.name + ".json")
		require.NoError(t, err)
		require.Equal(t, string(want), string(have), "out of date; run `go run ./deploy/observability/dashboards`")
	}
}
