package app

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"strconv"
)

// profiles returns a worker that serves Go's profiles at /debug/pprof/ on a port of loopback, for users of the machine.
func profiles(port int) Worker {
	return func(ctx context.Context) error {
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
		if err != nil {
			return fmt.Errorf("listen on %s (PPROF_PORT): %w", address, err)
		}
		mux := http.NewServeMux()
		mux.HandleFunc("/debug/pprof/", pprof.Index)
		mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
		server := &http.Server{Handler: mux, ReadHeaderTimeout: readHeaderTimeout}
		stop := context.AfterFunc(ctx, func() { _ = server.Close() })
		defer stop()
		return server.Serve(listener)
	}
}
