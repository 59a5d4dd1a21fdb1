package web_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/problem"
	"github.com/eventbooking/eventbooking/services/internal/web"
)

func TestClearableDistinguishesNullFromAbsent(t *testing.T) {
	t.Parallel()
	type body struct {
		End web.Clearable[string] `json:"end"`
	}
	for _, tt := range []struct {
		name, json string
		want       web.Clearable[string]
		invalid    bool
	}{
		{"Absent", `{}`, web.Clearable[string]{}, false},
		{"Null", `{"end":null}`, web.Clearable[string]{Present: true}, false},
		{"Present", `{"end":"late"}`, web.Clearable[string]{Present: true, Value: new("late")}, false},
		{"WrongType", `{"end":7}`, web.Clearable[string]{}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var in body
			r := httptest.NewRequest(http.MethodPatch, "/", strings.NewReader(tt.json))
			err := web.Decode(httptest.NewRecorder(), r, &in)
			if !tt.invalid {
				require.NoError(t, err)
				require.Equal(t, tt.want, in.End)
				return
			}
			p, ok := errors.AsType[*problem.Error](err)
			require.True(t, ok, "%v is not a *problem.Error", err)
			require.Equal(t, "end", p.Field)
		})
	}
}

func TestOptionalRejectsNull(t *testing.T) {
	t.Parallel()
	type body struct {
		Name web.Optional[string] `json:"name"`
	}
	for _, tt := range []struct {
		name, json string
		value      *string
		invalid    bool
	}{
		{"Absent", `{}`, nil, false},
		{"Present", `{"name":"Ann"}`, new("Ann"), false},
		{"Empty", `{"name":""}`, new(""), false},
		{"Null", `{"name":null}`, nil, true},
		{"WrongType", `{"name":7}`, nil, true},
		{"Object", `{"name":{}}`, nil, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var in body
			r := httptest.NewRequest(http.MethodPatch, "/", strings.NewReader(tt.json))
			err := web.Decode(httptest.NewRecorder(), r, &in)
			if !tt.invalid {
				require.NoError(t, err)
				require.Equal(t, tt.value, in.Name.Value)
				return
			}
			p, ok := errors.AsType[*problem.Error](err)
			require.True(t, ok, "%v is not a *problem.Error", err)
			require.Equal(t, "VALIDATION_ERROR", p.Code)
			require.Equal(t, "name", p.Field)
		})
	}
}
