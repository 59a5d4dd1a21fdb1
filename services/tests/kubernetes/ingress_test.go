//go:build kubernetes

package kubernetes_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/deploy/local/demo"
)

// ingress is an ingress controller: it forwards requests to ready pods, by the rules of the system's Ingress.
type ingress struct {
	routes []route // longest path first
	pods   http.RoundTripper

	mu     sync.RWMutex
	slices map[string]endpointSlice // by name
}

type route struct {
	path    string
	backend backend
}

type backend struct {
	Service struct {
		Name string
		Port struct{ Name string }
	}
}

type endpointSlice struct {
	Metadata struct {
		Name   string
		Labels map[string]string
	}
	Ports []struct {
		Name string
		Port int
	}
	Endpoints []struct {
		Addresses  []string
		Conditions struct{ Ready bool }
	}
}

// serveIngress starts the ingress and sets c.people to call through it. It runs until ctx is done.
func (c *cluster) serveIngress(ctx context.Context, t *testing.T) {
	t.Helper()
	object := get[struct {
		Spec struct {
			Rules []struct {
				HTTP struct {
					Paths []struct {
						Path, PathType string
						Backend        backend
					}
				}
			}
		}
	}](ctx, t, c, "ingress", "eventbooking")
	// An empty Transport ignores the proxies of the environment.
	i := &ingress{pods: &http.Transport{}, slices: map[string]endpointSlice{}}
	for _, rule := range object.Spec.Rules {
		for _, p := range rule.HTTP.Paths {
			require.Equal(t, "Prefix", p.PathType)
			i.routes = append(i.routes, route{p.Path, p.Backend})
		}
	}
	slices.SortFunc(i.routes, func(a, b route) int { return cmp.Compare(len(b.path), len(a.path)) })

	watch := c.Command(ctx, "-n", namespace, "get", "endpointslices", "-o", "json", "--watch", "--output-watch-events")
	events, err := watch.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, watch.Start())
	go func() {
		for dec := json.NewDecoder(events); ; {
			var event struct {
				Type   string
				Object endpointSlice
			}
			if err := dec.Decode(&event); err != nil {
				if ctx.Err() == nil {
					progress("watch endpoint slices failed: %v", err)
				}
				_ = watch.Wait()
				return
			}
			i.update(event.Type, event.Object)
		}
	}()
	c.await(ctx, t, "ready pods for each route of the ingress", func() error {
		for _, r := range i.routes {
			if name := r.backend.Service.Name; name != "nowhere" && i.pick(r.backend) == "" {
				return errors.New("no ready pods of " + name)
			}
		}
		return nil
	})
	server := httptest.NewServer(i)
	context.AfterFunc(ctx, server.Close)
	c.people = demo.Client{Ingress: server.URL}
}

// update applies a watch event.
func (i *ingress) update(event string, s endpointSlice) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if event == "DELETED" {
		delete(i.slices, s.Metadata.Name)
	} else {
		i.slices[s.Metadata.Name] = s
	}
}

// pick returns the address of a random ready pod, or an empty string.
func (i *ingress) pick(b backend) string {
	i.mu.RLock()
	defer i.mu.RUnlock()
	var addresses []string
	for _, s := range i.slices {
		if s.Metadata.Labels["kubernetes.io/service-name"] != b.Service.Name {
			continue
		}
		for _, port := range s.Ports {
			if port.Name != b.Service.Port.Name {
				continue
			}
			for _, e := range s.Endpoints {
				if e.Conditions.Ready {
					addresses = append(addresses, net.JoinHostPort(e.Addresses[0], strconv.Itoa(port.Port)))
				}
			}
		}
	}
	if len(addresses) == 0 {
		return ""
	}
	return addresses[rand.IntN(len(addresses))]
}

// ServeHTTP answers 404 if no path matches and 503 if no pod is ready, as ingress controllers do.
func (i *ingress) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	found := slices.IndexFunc(i.routes, func(to route) bool { return strings.HasPrefix(r.URL.Path+"/", to.path+"/") })
	if found < 0 {
		http.NotFound(w, r)
		return
	}
	address := i.pick(i.routes[found].backend)
	if address == "" {
		http.Error(w, "no pod is ready", http.StatusServiceUnavailable)
		return
	}
	(&httputil.ReverseProxy{Transport: i.pods, Rewrite: func(p *httputil.ProxyRequest) {
		p.SetURL(&url.URL{Scheme: "http", Host: address})
		p.SetXForwarded()
	}}).ServeHTTP(w, r)
}
