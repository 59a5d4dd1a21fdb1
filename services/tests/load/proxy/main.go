// Command proxy replaces all sidecars on calls from service to service. It accepts a call where a sidecar would
// (/v1.0/invoke/<app>/method/<path>) and forwards it to the app with the sidecar's token. It does nothing else that a
// sidecar does: no retries, circuit breakers, timeouts, limits, encryption, traces or metrics. What a call costs more
// through sidecars than through this proxy is the cost of Dapr.
package main

import (
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/kelseyhightower/envconfig"
)

type config struct {
	Port        int            `envconfig:"APP_PORT" required:"true"`
	AppAPIToken string         `envconfig:"APP_API_TOKEN" required:"true"`
	Apps        map[string]int `envconfig:"PROXY_APPS" required:"true"` // ports by app-id
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "proxy:", err)
		os.Exit(1)
	}
}

func run() error {
	var cfg config
	if err := envconfig.Process("", &cfg); err != nil {
		return err
	}
	server := &http.Server{
		Addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(cfg.Port)), Handler: cfg.handler(),
		ReadHeaderTimeout: 5 * time.Second,
	}
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}

// handler forwards calls to the apps, and reports that it is ready.
func (c config) handler() http.Handler {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConns, transport.MaxIdleConnsPerHost = 1024, 256
	mux := http.NewServeMux()
	for app, port := range c.Apps {
		target := &url.URL{Scheme: "http", Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(port))}
		prefix := "/v1.0/invoke/" + app + "/method"
		mux.Handle(prefix+"/", http.StripPrefix(prefix, &httputil.ReverseProxy{
			Rewrite: func(r *httputil.ProxyRequest) {
				r.SetURL(target)
				r.Out.Header.Set("dapr-api-token", c.AppAPIToken)
			},
			Transport: transport,
			ErrorLog:  log.New(os.Stderr, app+": ", log.LstdFlags),
		}))
	}
	mux.HandleFunc("/actuator/health/ready", func(http.ResponseWriter, *http.Request) {})
	return mux
}
