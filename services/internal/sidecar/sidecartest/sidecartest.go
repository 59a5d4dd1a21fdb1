// Package sidecartest connects a sidecar.Client to a stand-in of a Dapr sidecar.
package sidecartest

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	runtime "github.com/dapr/dapr/pkg/proto/runtime/v1"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"github.com/eventbooking/eventbooking/services/internal/sidecar"
)

// daprd is the part of a sidecar's gRPC API that the stand-in has.
type daprd struct {
	runtime.UnimplementedDaprServer
	secrets map[string]string
}

// GetSecret returns a secret of the component secretstore.
func (d daprd) GetSecret(_ context.Context, r *runtime.GetSecretRequest) (*runtime.GetSecretResponse, error) {
	secret, found := d.secrets[r.GetKey()]
	if r.GetStoreName() != "secretstore" || !found {
		return nil, status.Error(codes.Internal, "no such secret")
	}
	return &runtime.GetSecretResponse{Data: map[string]string{r.GetKey(): secret}}, nil
}

// Connect returns the client of a service, whose sidecar has these secrets and answers every invocation with callee.
// The paths of the requests begin with /v1.0/invoke/. Client and sidecar are closed when the test ends.
func Connect(t *testing.T, service string, secrets map[string]string, callee http.HandlerFunc) *sidecar.Client {
	t.Helper()
	httpPort, grpcPort := Serve(t, secrets, callee)
	client, err := sidecar.Connect(t.Context(), service, httpPort, grpcPort)
	require.NoError(t, err)
	t.Cleanup(client.Close)
	return client
}

// Serve runs a sidecar that has these secrets and answers every invocation with callee, until the test ends. It returns
// the ports of its APIs.
func Serve(t *testing.T, secrets map[string]string, callee http.HandlerFunc) (httpPort, grpcPort int) {
	t.Helper()
	invocation := httptest.NewServer(callee)
	t.Cleanup(invocation.Close)
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := grpc.NewServer(grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{ // daprd's
		MinTime: 8 * time.Second, PermitWithoutStream: true,
	}))
	runtime.RegisterDaprServer(server, daprd{secrets: secrets})
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return invocation.Listener.Addr().(*net.TCPAddr).Port, listener.Addr().(*net.TCPAddr).Port
}
