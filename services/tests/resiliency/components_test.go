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

// faulty is a server behind the components that services ask something of: pluggable ones, which a sidecar finds by their
// socket. Of what is asked under a name ending in "hangs" nothing comes, and the rest fails.
var faulty = &faultyServer{asked: map[string]int{}}

type faultyServer struct {
	mu    sync.Mutex
	asked map[string]int
}

func (f *faultyServer) answer(ctx context.Context, name string) error {
	f.mu.Lock()
	f.asked[name]++
	f.mu.Unlock()
	if strings.HasSuffix(name, "hangs") {
		<-ctx.Done()
	}
	return errors.New("by order of a test")
}

// serve listens on a socket, and tells the sidecars of it by their environment, which they have from us.
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
	go func() { _ = server.Serve(l) }() // until it is stopped
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

func (faultySecrets) Init(context.Context, *components.SecretStoreInitRequest) (*components.SecretStoreInitResponse, error) {
	return &components.SecretStoreInitResponse{}, nil
}

func (faultySecrets) Features(context.Context, *components.FeaturesRequest) (*components.FeaturesResponse, error) {
	return &components.FeaturesResponse{}, nil
}

func (faultySecrets) Get(ctx context.Context, req *components.GetSecretRequest) (*components.GetSecretResponse, error) {
	return nil, faulty.answer(ctx, "secretstore "+req.GetMetadata()["what"])
}

// What is asked of a server is cut off at the timeout, and repeated as often as its policy says.
func TestServersThatFail(t *testing.T) {
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
		for _, what := range []string{"fails", "hangs"} {
			t.Run(c.Metadata.Name+"/"+what, func(t *testing.T) {
				t.Parallel()
				kind, _, _ := strings.Cut(c.Spec.Type, ".")
				method, path := http.MethodGet, map[string]string{
					"pubsub":       "publish/" + c.Metadata.Name + "/",
					"state":        "state/" + c.Metadata.Name + "/",
					"secretstores": "secrets/" + c.Metadata.Name + "/service-auth-secret?metadata.what=", // others are nobody's to read
				}[kind]
				if kind == "pubsub" {
					method = http.MethodPost
				}
				req, err := http.NewRequestWithContext(t.Context(), method, sidecars.App(c.Scopes[0]).SidecarURL()+"/v1.0/"+path+what, http.NoBody)
				require.NoError(t, err)
				began := time.Now()
				res, err := client.Do(req)
				require.NoError(t, err)
				require.NoError(t, res.Body.Close())
				require.Equal(t, http.StatusInternalServerError, res.StatusCode)
				took := time.Since(began)
				faulty.mu.Lock()
				require.Equal(t, want, faulty.asked[c.Metadata.Name+" "+what])
				faulty.mu.Unlock()
				if what == "hangs" {
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
