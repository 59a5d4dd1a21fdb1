package conformance_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/conformance"
)

func TestCasesAcceptTheirOwnAnswer(t *testing.T) {
	t.Parallel()
	cases, err := conformance.Cases()
	require.NoError(t, err)
	require.Len(t, cases, 20)
	for _, c := range cases {
		actual := map[string]string{}
		for example, name := range c.StandIns {
			actual[name] = example
		}
		c, err := c.With(actual)
		require.NoError(t, err)
		require.NoError(t, c.Check(c.Status, c.Answer, actual))
	}
}

func TestCheckReportsTheFirstDifference(t *testing.T) {
	t.Parallel()
	c := conformance.Case{
		Status: 200, StandIns: map[string]string{"example": "user"}, Beyond: []string{"ours", "list.ours"},
		Answer: []byte(`{"userId":"example","valid":true,"n":1,"error":"CODE","text":"any","list":[{"a":1}]}`),
	}
	actual := map[string]string{"user": "real"}
	c, err := c.With(actual)
	require.NoError(t, err)
	for _, tt := range []struct{ name, answer, wrong string }{
		{"Same", `{"userId":"real","valid":true,"n":7,"error":"CODE","text":"other","list":[{"a":2}]}`, ""},
		{"BeyondTheContract", `{"userId":"real","valid":true,"n":7,"error":"CODE","text":"x",
			"list":[{"a":2,"ours":3}],"ours":1}`, ""},
		{"AddedField", `{"userId":"real","valid":true,"n":7,"error":"CODE","text":"x","list":[{"a":2}],"more":1}`, "fields"},
		{"MissingField", `{"userId":"real","valid":true,"n":7,"error":"CODE","text":"x"}`, "fields"},
		{"OtherType", `{"userId":"real","valid":true,"n":"7","error":"CODE","text":"x","list":[{"a":2}]}`, ".n"},
		{"OtherCode", `{"userId":"real","valid":true,"n":7,"error":"OTHER","text":"x","list":[{"a":2}]}`, ".error"},
		{"OtherDecision", `{"userId":"real","valid":false,"n":7,"error":"CODE","text":"x","list":[{"a":2}]}`, ".valid"},
		{"OtherUser", `{"userId":"who","valid":true,"n":7,"error":"CODE","text":"x","list":[{"a":2}]}`, ".userId"},
		{"OtherLength", `{"userId":"real","valid":true,"n":7,"error":"CODE","text":"x","list":[]}`, "entries"},
		{"NestedField", `{"userId":"real","valid":true,"n":7,"error":"CODE","text":"x","list":[{"b":2}]}`, ".list[0]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := c.Check(200, []byte(tt.answer), actual)
			if tt.wrong == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, tt.wrong)
			}
		})
	}
	require.Error(t, c.Check(404, c.Answer, actual))
	_, err = c.With(map[string]string{})
	require.Error(t, err)
}
