package app_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/fstest"

	runtime "github.com/dapr/dapr/pkg/proto/runtime/v1"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/internal/app"
	"github.com/eventbooking/eventbooking/services/internal/postgres"
	"github.com/eventbooking/eventbooking/services/internal/postgres/postgrestest"
	"github.com/eventbooking/eventbooking/services/internal/sidecar"
)

// fakeSidecar has secrets, and records those that are read and the tokens of calls.
type fakeSidecar struct {
	runtime.UnimplementedDaprServer
	secrets map[string]string

	mu     sync.Mutex
	read   []string
	tokens []string
}

func (f *fakeSidecar) GetSecret(_ context.Context, req *runtime.GetSecretRequest) (*runtime.GetSecretResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.read = append(f.read, req.GetKey())
	secret, found := f.secrets[req.GetKey()]
	if !found {
		return nil, status.Error(codes.Internal, "no such secret")
	}
	return &runtime.GetSecretResponse{Data: map[string]string{req.GetKey(): secret}}, nil
}

// start serves the sidecar's two APIs and returns the configuration of its app.
func (f *fakeSidecar) start(t *testing.T) app.Config {
	t.Helper()
	invocation := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.tokens = append(f.tokens, r.Header.Get("X-Service-Token"))
		_, _ = w.Write([]byte(`{"keys":[]}`))
	}))
	t.Cleanup(invocation.Close)
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := grpc.NewServer()
	runtime.RegisterDaprServer(server, f)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return app.Config{
		DaprHTTPPort: invocation.Listener.Addr().(*net.TCPAddr).Port,
		DaprGRPCPort: listener.Addr().(*net.TCPAddr).Port,
		AppAPIToken:  "app-token",
	}
}

func TestAccessDecidesWhetherTheServiceSecretIsRead(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name          string
		access        []app.Access
		read          []string
		users, guard  bool
		authenticates bool
	}{
		{"Nothing", nil, nil, false, false, false},
		{"Users", []app.Access{app.AcceptsUsers}, nil, true, false, false},
		{"AcceptsServices", []app.Access{app.AcceptsServices}, []string{"service-auth-secret"}, false, true, false},
		{"CallsServices", []app.Access{app.CallsServices}, []string{"service-auth-secret"}, false, false, true},
		{
			"All",
			[]app.Access{app.AcceptsUsers, app.AcceptsServices, app.CallsServices},
			[]string{"service-auth-secret"},
			true, true, true,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			daprd := &fakeSidecar{secrets: map[string]string{"service-auth-secret": "s3cret"}}
			service, err := app.Connect(t.Context(), "email-service", daprd.start(t), tt.access...)
			require.NoError(t, err)
			t.Cleanup(service.Close)
			_, err = sidecar.Call(t.Context(), service.Sidecar, calls.TicketPDF, calls.TicketPDFQuery{}, uuid.New())
			require.NoError(t, err)

			daprd.mu.Lock()
			defer daprd.mu.Unlock()
			require.Equal(t, tt.read, daprd.read)
			require.Equal(t, tt.authenticates, daprd.tokens[len(daprd.tokens)-1] != "")
			require.Equal(t, tt.guard, service.Guard.ServiceSecret != nil)
			require.Equal(t, tt.users, service.Guard.Verifier.Keys != nil)
			require.Equal(t, "app-token", service.Guard.AppAPIToken)
			require.Nil(t, service.Pool)
		})
	}
}

func TestOpenMigratesTheDatabase(t *testing.T) {
	t.Parallel()
	url := postgrestest.New(t).Config().ConnString()
	daprd := &fakeSidecar{secrets: map[string]string{"ticket-service-database-url": url}}
	service, err := app.Open(t.Context(), "ticket-service", daprd.start(t), app.Database{
		Migrations: postgres.Migrations{VersionTable: "seats_version", Files: fstest.MapFS{
			"001_seats.sql": {Data: []byte(`CREATE TABLE seats (id int PRIMARY KEY);`)},
		}},
	})
	require.NoError(t, err)
	for _, table := range []string{"seats", "outbox"} {
		_, err := service.Pool.Exec(t.Context(), "SELECT FROM "+table)
		require.NoError(t, err)
	}
	require.Equal(t, "database", service.DatabaseHealth.Name)
	require.NoError(t, service.DatabaseHealth.Probe(t.Context()))
	service.Close()
	require.Error(t, service.DatabaseHealth.Probe(t.Context()))
}

func TestOpenNamesAMissingSecret(t *testing.T) {
	t.Parallel()
	daprd := &fakeSidecar{}
	_, err := app.Open(t.Context(), "ticket-service", daprd.start(t), app.Database{})
	require.ErrorContains(t, err, "ticket-service-database-url")
}
