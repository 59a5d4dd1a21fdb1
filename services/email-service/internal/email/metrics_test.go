package email

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
)

func TestOutcomesAreCounted(t *testing.T) {
	t.Parallel()
	for outcome, err := range map[string]error{
		sent:        nil,
		rejected:    ErrRejected.Because(errors.New("the server answered 550")),
		deferred:    ErrDeferred.Because(errors.New("the server answered 450")),
		unavailable: ErrUnavailable.Because(errors.New("no route")),
		unconfirmed: ErrUnavailable.Because(fmt.Errorf("%w: timeout", errNoAnswer)),
	} {
		before := testutil.ToFloat64(messages.WithLabelValues(outcome))
		observe(err, time.Now())
		require.Greater(t, testutil.ToFloat64(messages.WithLabelValues(outcome)), before, outcome)
	}
}
