package serve

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Limits of a server. They are generous to honest clients: a kube-apiserver puts
// all its reviews on a few connections, and a bearer token with 200 groups is
// about 10 KB of header.
const (
	maxHeaderBytes   = 64 << 10
	maxStreams       = 250 // of one HTTP/2 connection, as net/http's own default
	headerTimeout    = 5 * time.Second
	readTimeout      = 30 * time.Second
	writeTimeout     = 2 * time.Minute // longer than a long poll
	idleTimeout      = 2 * time.Minute
	maxFrameReadSize = 1 << 20
)

// NewServer returns a server of h with the limits of this house. errors of
// connections (failed handshakes, broken clients) go to log at debug level.
func NewServer(h http.Handler, conf *tls.Config, log *slog.Logger) *http.Server {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &http.Server{
		Handler:           h,
		TLSConfig:         conf,
		MaxHeaderBytes:    maxHeaderBytes,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxStreams, MaxReadFrameSize: maxFrameReadSize},
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// Run serves srv over TLS on ln until ctx is done, then lets running requests
// finish for at most grace. It returns nil after an orderly end.
func Run(ctx context.Context, srv *http.Server, ln net.Listener, grace time.Duration) error {
	failed := make(chan error, 1)
	go func() { failed <- srv.ServeTLS(ln, "", "") }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve on %s: %w", ln.Addr(), err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	if err := srv.Shutdown(stop); err != nil {
		srv.Close() // the grace is over: cut what still runs
		if !errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("stop serving on %s: %w", ln.Addr(), err)
		}
	}
	<-failed
	return nil
}

// SecurityHeaders returns h with headers for browsers that meet an answer by
// accident: nothing may be run, framed, sniffed or sent on. A door with pages
// sets its own Content-Security-Policy.
func SecurityHeaders(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		head := w.Header()
		head.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
		head.Set("Referrer-Policy", "no-referrer")
		head.Set("Strict-Transport-Security", "max-age=31536000")
		head["X-Content-Type-Options"] = nosniff
		head.Set("X-Frame-Options", "DENY")
		head.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.ServeHTTP(w, r)
	})
}
