// Package dialtest has a TCP proxy that swallows packets, as a broken network does.
package dialtest

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// Proxy forwards TCP connections to a server until Swallow is called. Its methods may be called concurrently.
type Proxy struct {
	target   string
	listener net.Listener

	mu         sync.Mutex
	swallowing bool
	links      map[*link]struct{}
}

// link is a connection of a client and that to the server.
type link struct {
	client    net.Conn
	server    net.Conn // nil if the link was swallowed from the beginning
	swallowed atomic.Bool
}

// NewProxy starts a proxy to the TCP address target. The caller closes it.
func NewProxy(ctx context.Context, target string) (*Proxy, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for the proxy to %s: %w", target, err)
	}
	p := &Proxy{target: target, listener: listener, links: map[*link]struct{}{}}
	go p.accept(context.WithoutCancel(ctx))
	return p, nil
}

// Address returns the address that the proxy listens on.
func (p *Proxy) Address() string { return p.listener.Addr().String() }

// Port returns the port that the proxy listens on.
func (p *Proxy) Port() int { return p.listener.Addr().(*net.TCPAddr).Port }

// Swallow drops what is sent on all connections, those of the future included, in both directions. The kernel still
// acknowledges it, so that neither side gets an error.
func (p *Proxy) Swallow() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.swallowing = true
	for l := range p.links {
		l.swallowed.Store(true)
	}
}

// Forward forwards new connections again. The swallowed ones stay swallowed.
func (p *Proxy) Forward() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.swallowing = false
}

// Close stops the proxy and closes all connections.
func (p *Proxy) Close() {
	_ = p.listener.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.close()
	}
}

func (p *Proxy) accept(ctx context.Context) {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		go p.serve(ctx, client)
	}
}

func (p *Proxy) serve(ctx context.Context, client net.Conn) {
	p.mu.Lock()
	swallowing := p.swallowing
	p.mu.Unlock()
	l := &link{client: client}
	l.swallowed.Store(swallowing)
	if !swallowing {
		var err error
		if l.server, err = (&net.Dialer{}).DialContext(ctx, "tcp", p.target); err != nil {
			_ = client.Close()
			return
		}
	}
	p.mu.Lock()
	if p.swallowing {
		l.swallowed.Store(true)
	}
	p.links[l] = struct{}{}
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.links, l)
		l.close()
	}()
	if l.server == nil {
		_, _ = io.Copy(io.Discard, client)
		return
	}
	var both sync.WaitGroup
	both.Go(func() { l.copy(l.server, client) })
	both.Go(func() { l.copy(client, l.server) })
	both.Wait()
}

// copy forwards what it reads until one side closes its connection. The end of a swallowed connection is swallowed too.
func (l *link) copy(to, from net.Conn) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if !l.swallowed.Load() {
			if n > 0 {
				if _, writeErr := to.Write(buffer[:n]); writeErr != nil && err == nil {
					err = writeErr
				}
			}
			if err != nil {
				l.close()
			}
		}
		if err != nil {
			return
		}
	}
}

// close closes both connections.
func (l *link) close() {
	_ = l.client.Close()
	if l.server != nil {
		_ = l.server.Close()
	}
}
