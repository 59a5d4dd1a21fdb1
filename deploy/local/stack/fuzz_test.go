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

func TestFuzzTimeIsNoFinding(t *testing.T) {
	t.Parallel()
	require.True(t, endedByFuzzTime(`fuzz: elapsed: 5s, execs: 167819 (42021/sec), new interesting: 10 (total: 37)
--- FAIL: FuzzCursor (5.10s)
    context deadline exceeded
FAIL
exit status 1
`))
	require.False(t, endedByFuzzTime(`fuzz: elapsed: 0s, gathering baseline coverage: 0/192 completed
--- FAIL: FuzzCursor (0.02s)
    --- FAIL: FuzzCursor (0.00s)
        paging_test.go:70: context deadline exceeded

    Failing input written to testdata/fuzz/FuzzCursor/771e938e4458e983
FAIL
`))
	require.False(t, endedByFuzzTime("# example.com/a\na.go:1: syntax error\nFAIL\n"), "a build error")
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
