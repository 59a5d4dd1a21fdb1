package sales

import (
	"context"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
)

// Caller calls other services. *sidecar.Client is one.
type Caller interface {
	Call(ctx context.Context, app, method, path string, in, out any) error
}

// get calls an endpoint for the resource with this id. Its errors are those of sidecar.Client.Call.
func get[Res any](ctx context.Context, c Caller, e calls.Endpoint[calls.None, Res], id uuid.UUID) (Res, error) {
	var out Res
	path, err := e.Fill(id)
	if err != nil {
		return out, err
	}
	return out, c.Call(ctx, e.App, e.Method, path, nil, &out)
}
