package resiliency_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	components "github.com/dapr/dapr/pkg/proto/components/v1"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/reflection"
)

// faulty is the server behind the components that a service's requests go to. It is a pluggable component, which a
// sidecar finds by its socket. A request with a name ending in "hangs" gets no answer. All others fail.
var faulty = &faultyServer{requests: map[string]int{}}

type faultyServer struct {
	mu       sync.Mutex
	requests map[string]int
}

func (f *faultyServer) answer(ctx context.Context, name string) error {
	f.mu.Lock()
	f.requests[name]++
	f.mu.Unlock()
	if strings.HasSuffix(name, "hangs") {
		<-ctx.Done()
	}
	return errors.New("injected by the test")
}

// serve listens on a socket in dir. It sets the environment variable by which the sidecars, our child processes, find
// it.
func (f *faultyServer) serve(dir string) (stop func(), err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make a directory for sockets: %w", err)
	}
	if err := os.Setenv("DAPR_COMPONENTS_SOCKETS_FOLDER", dir); err != nil {
		return nil, fmt.Errorf("name the directory for sockets: %w", err)
	}
	l, err := net.Listen("unix", filepath.Join(dir, "faulty.sock"))
	if err != nil {
		return nil, fmt.Errorf("listen on a socket: %w", err)
	}
	server := grpc.NewServer()
	components.RegisterPubSubServer(server, faultyPubSub{})
	components.RegisterStateStoreServer(server, faultyState{})
	components.RegisterSecretStoreServer(server, faultySecrets{})
	reflection.Register(server)
	go func() { _ = server.Serve(l) }() // until stop is called
	return server.Stop, nil
}

type faultyPubSub struct {
	components.UnimplementedPubSubServer
}

func (faultyPubSub) Init(context.Context, *components.PubSubInitRequest) (*components.PubSubInitResponse, error) {
	return &components.PubSubInitResponse{}, nil
}

func (faultyPubSub) Features(context.Context, *components.FeaturesRequest) (*components.FeaturesResponse, error) {
	return &components.FeaturesResponse{}, nil
}

func (faultyPubSub) Publish(ctx context.Context, req *components.PublishRequest) (*components.PublishResponse, error) {
	return nil, faulty.answer(ctx, req.GetPubsubName()+" "+req.GetTopic())
}

type faultyState struct {
	components.UnimplementedStateStoreServer
}

func (faultyState) Init(context.Context, *components.InitRequest) (*components.InitResponse, error) {
	return &components.InitResponse{}, nil
}

func (faultyState) Features(context.Context, *components.FeaturesRequest) (*components.FeaturesResponse, error) {
	return &components.FeaturesResponse{}, nil
}

func (faultyState) Get(ctx context.Context, req *components.GetRequest) (*components.GetResponse, error) {
	_, key, _ := strings.Cut(req.GetKey(), "||") // after the app's id
	return nil, faulty.answer(ctx, "statestore "+key)
}

type faultySecrets struct {
	components.UnimplementedSecretStoreServer
}

func (faultySecrets) Init(
	context.Context, *components.SecretStoreInitRequest,
) (*components.SecretStoreInitResponse, error) {
	return &components.SecretStoreInitResponse{}, nil
}

func (faultySecrets) Features(context.Context, *components.FeaturesRequest) (*components.FeaturesResponse, error) {
	return &components.FeaturesResponse{}, nil
}

func (faultySecrets) Get(ctx context.Context, req *components.GetSecretRequest) (*components.GetSecretResponse, error) {
	return nil, faulty.answer(ctx, "secretstore "+req.GetMetadata()["what"])
}

// A sidecar ends a request to a component's server at the timeout, and retries it as often as the policy says.
func TestRequestsToFailingServersTimeOutAndAreRetried(t *testing.T) {
	t.Parallel()
	servers := 0
	for _, c := range localComponents(t) {
		names, found := outbound(c.Metadata.Name)
		if !found {
			continue
		}
		servers++
		want := 1
		var limit string
		for _, d := range short {
			if r, found := d.Spec.Policies.Retries[names.Retry]; found {
				want = 1 + *r.MaxRetries
			}
			if timeout, found := d.Spec.Policies.Timeouts[names.Timeout]; found {
				limit = timeout
			}
		}
		for _, fault := range []string{"fails", "hangs"} {
			t.Run(c.Metadata.Name+"/"+fault, func(t *testing.T) {
				t.Parallel()
				kind, _, _ := strings.Cut(c.Spec.Type, ".")
				method, path := http.MethodGet, map[string]string{
					"pubsub": "publish/" + c.Metadata.Name + "/",
					"state":  "state/" + c.Metadata.Name + "/",
					// A secret that the component's first app may read.
					"secretstores": "secrets/" + c.Metadata.Name + "/service-auth-secret?metadata.what=",
				}[kind]
				if kind == "pubsub" {
					method = http.MethodPost
				}
				url := sidecars.App(c.Scopes[0]).SidecarURL() + "/v1.0/" + path + fault
				req, err := http.NewRequestWithContext(t.Context(), method, url, http.NoBody)
				require.NoError(t, err)
				start := time.Now()
				res, err := client.Do(req)
				require.NoError(t, err)
				require.NoError(t, res.Body.Close())
				require.Equal(t, http.StatusInternalServerError, res.StatusCode)
				took := time.Since(start)
				faulty.mu.Lock()
				require.Equal(t, want, faulty.requests[c.Metadata.Name+" "+fault])
				faulty.mu.Unlock()
				if fault == "hangs" {
					each, err := time.ParseDuration(limit)
					require.NoError(t, err)
					require.Greater(t, took, time.Duration(want)*each)
					require.Less(t, took, time.Duration(want)*(each+time.Second))
				}
			})
		}
	}
	require.NotZero(t, servers)
}
