package hostile

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/contracttest"
)

// The attacks cover every service, every kind of credentials and every kind of wrong value. They are well over the
// minimum of a run.
func TestAttacksCoverTheDocuments(t *testing.T) {
	t.Parallel()
	ids := map[string]string{"eventId": uuid.NewString()}
	total, securities, names := 0, map[string]int{}, map[string]bool{}
	for _, service := range contracttest.Services() {
		operations, d, err := operations(service)
		require.NoError(t, err)
		require.NotEmpty(t, operations)
		g := &generator{random: rand.New(rand.NewPCG(1, 0)), ids: ids, d: d}
		for _, op := range operations {
			if op.security == "service" {
				require.NotEmpty(t, op.caller, "%s has no caller", op)
			}
			attacks := g.attacks(op)
			securities[op.security] += len(attacks)
			total += len(attacks)
			for _, a := range attacks {
				require.NotContains(t, a.url, "{", "%s, %s: a path variable without a value", op, a.name)
				if _, name, found := strings.Cut(a.name, "] "); found { // the name of an attack on a field follows its path
					names[name] = true
				}
			}
		}
		t.Logf("%d attacks up to %s", total, service)
	}
	require.GreaterOrEqual(t, total, minAttacks)
	require.Len(t, securities, 4)
	for _, name := range []string{
		"too long", "empty", "negative", "zero", "no entries", "too many entries", "not in the enum", "unknown field", "null",
		"invalid UUID 0", "invalid time 0", "invalid address 0", "invalid currency 0", "against the pattern",
		// The generator finds these rules in descriptions, which a rewording may hide from it.
		"duplicate entries", "control characters", "past",
	} {
		require.True(t, names[name], "no attack is %q", name)
	}
}

func TestWithReplacesTheValueAtAPath(t *testing.T) {
	t.Parallel()
	body := object{"a": 1, "b": []any{object{"c": 2}}}
	for _, tt := range []struct {
		name  string
		path  []any
		value any
		want  string
	}{
		{"Field", []any{"a"}, "x", `{"a":"x","b":[{"c":2}]}`},
		{"FieldOfAnEntry", []any{"b", 0, "c"}, raw("1e400"), ``},
		{"MissingField", []any{"a"}, missing{}, `{"b":[{"c":2}]}`},
		{"MissingFieldOfAnEntry", []any{"b", 0, "c"}, missing{}, `{"a":1,"b":[{}]}`},
		{"WholeBody", nil, "x", `"x"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := string(encode(with(body, tt.path, tt.value)))
			if tt.want == "" {
				require.Contains(t, got, "1e400")
				return
			}
			require.JSONEq(t, tt.want, got)
		})
	}
	unchanged, err := json.Marshal(body)
	require.NoError(t, err)
	require.JSONEq(t, `{"a":1,"b":[{"c":2}]}`, string(unchanged))
}
