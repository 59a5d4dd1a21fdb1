package stack

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseFuzzTargets(t *testing.T) {
	t.Parallel()
	got := parseFuzzTargets(`FuzzOne
FuzzTwo
ok  	example.com/a	0.005s
ok  	example.com/b	0.007s
?   	example.com/none	[no test files]
FuzzOne
ok  	example.com/c	0.004s
`)
	want := []fuzzTarget{{"example.com/a", "FuzzOne"}, {"example.com/a", "FuzzTwo"}, {"example.com/c", "FuzzOne"}}
	require.Equal(t, want, got)
}

func TestHasFuzzTarget(t *testing.T) {
	t.Parallel()
	write := func(name, content string) string {
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
		return dir
	}
	for dir, want := range map[string]bool{
		write("a_test.go", "package a\n\nfunc FuzzOne(f *testing.F) {}\n"): true,
		write("a_test.go", "package a\n\n// func FuzzOne\n"):               false,
		write("a.go", "package a\n\nfunc FuzzOne() {}\n"):                  false,
	} {
		got, err := hasFuzzTarget(dir)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}
