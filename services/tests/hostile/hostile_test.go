package hostile

import (
	"encoding/json"
	"math/rand/v2"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/contracttest"
)

// What is generated covers every service and every kind of operation, well over the number that a run
// has to send.
func TestAttacks(t *testing.T) {
	t.Parallel()
	ids := map[string]string{"eventId": uuid.NewString()}
	total, kinds := 0, map[string]int{}
	for _, service := range contracttest.Services() {
		operations, d, err := operations(service)
		require.NoError(t, err)
		require.NotEmpty(t, operations)
		g := &generator{random: rand.New(rand.NewPCG(1, 0)), ids: ids, d: d}
		for _, op := range operations {
			if op.security == "service" {
				require.NotEmpty(t, op.caller, "%s has a caller", op)
			}
			attacks := g.attacks(op)
			kinds[op.security] += len(attacks)
			total += len(attacks)
			for _, a := range attacks {
				require.NotContains(t, a.url, "{", "%s, %s", op, a.name)
			}
		}
		t.Logf("%s: %d so far", service, total)
	}
	require.GreaterOrEqual(t, total, least)
	require.Len(t, kinds, 4)
}

func TestWith(t *testing.T) {
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
		{"FieldGone", []any{"a"}, missing{}, `{"b":[{"c":2}]}`},
		{"FieldOfAnEntryGone", []any{"b", 0, "c"}, missing{}, `{"a":1,"b":[{}]}`},
		{"Whole", nil, "x", `"x"`},
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
