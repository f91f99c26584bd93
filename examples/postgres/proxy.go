package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/jackc/pgx/v5/pgproto3"
)

// audience is what tokens for PostgreSQL are for.
const audience = "https://ossrdbms-aad.database.windows.net"

// Bounds of a client who did not sign in yet: how long he may take, and how long a
// message may be. The server's own bound is beyond what many of them at once leave.
const (
	signInTime = 30 * time.Second
	maxToken   = 64 << 10 // bytes
)

type proxy struct {
	server   string
	tenant   string
	roles    map[string][]string // object ids of those who may be a role
	verifier *oidc.IDTokenVerifier
	tls      *tls.Config
	log      *slog.Logger
}

func (p *proxy) serve(ctx context.Context, l net.Listener) error {
	defer context.AfterFunc(ctx, func() { l.Close() })()
	var all sync.WaitGroup
	defer all.Wait()
	for {
		conn, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		all.Go(func() {
			defer context.AfterFunc(ctx, func() { conn.Close() })()
			defer conn.Close()
			if err := p.handle(ctx, conn); err != nil && !errors.Is(err, io.EOF) && ctx.Err() == nil {
				p.log.Info("connection ended", "from", conn.RemoteAddr().String(), "why", err.Error())
			}
		})
	}
}

// handle leads one connection.
func (p *proxy) handle(ctx context.Context, conn net.Conn) error {
	if err := conn.SetDeadline(time.Now().Add(signInTime)); err != nil {
		return err
	}
	client, hello, err := p.greet(&conn)
	if err != nil {
		return err
	}
	if cancel, ok := hello.(*pgproto3.CancelRequest); ok {
		return p.cancel(ctx, cancel)
	}
	if _, secret := conn.(*tls.Conn); p.tls != nil && !secret {
		// He would send his token for everybody to read, if he was asked for it.
		client.Send(&pgproto3.ErrorResponse{Severity: "FATAL", Code: "28000", Message: "tokens are taken over TLS alone (sslmode=verify-full)"})
		return client.Flush()
	}
	start := hello.(*pgproto3.StartupMessage)
	who, err := p.signIn(ctx, client, start.Parameters["user"])
	if err != nil {
		client.Send(&pgproto3.ErrorResponse{Severity: "FATAL", Code: "28P01", Message: err.Error()})
		return errors.Join(err, client.Flush())
	}
	up, err := new(net.Dialer).DialContext(ctx, "unix", p.server)
	if err != nil {
		client.Send(&pgproto3.ErrorResponse{Severity: "FATAL", Code: "08006", Message: "the PostgreSQL server does not answer"})
		return errors.Join(err, client.Flush())
	}
	defer up.Close()
	server := pgproto3.NewFrontend(up, up)
	server.Send(start)
	if err := server.Flush(); err != nil {
		return err
	}
	p.log.Info("signed in", "role", start.Parameters["user"], "oid", who)
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return err
	}
	done := make(chan error, 2)
	go func() { done <- pass(client.Receive, server.Send, server.Flush) }()
	go func() { done <- pass(server.Receive, client.Send, client.Flush) }()
	err = <-done
	conn.Close()
	up.Close()
	<-done
	return err
}

// pass passes messages on until one side has no more.
func pass[In, Out pgproto3.Message](receive func() (In, error), send func(Out), flush func() error) error {
	for {
		msg, err := receive()
		if err != nil {
			return err
		}
		send(any(msg).(Out))
		if err := flush(); err != nil {
			return err
		}
		if _, over := any(msg).(*pgproto3.Terminate); over {
			return io.EOF
		}
	}
}

// greet reads what a client says first, after TLS if it asks for that.
func (p *proxy) greet(conn *net.Conn) (*pgproto3.Backend, pgproto3.FrontendMessage, error) {
	client := pgproto3.NewBackend(*conn, *conn)
	for range 3 {
		hello, err := client.ReceiveStartupMessage()
		if err != nil {
			return nil, nil, err
		}
		answer := byte('N')
		switch hello.(type) {
		case *pgproto3.StartupMessage, *pgproto3.CancelRequest:
			return client, hello, nil
		case *pgproto3.SSLRequest:
			if p.tls != nil {
				answer = 'S'
			}
		case *pgproto3.GSSEncRequest:
		}
		if _, err := (*conn).Write([]byte{answer}); err != nil {
			return nil, nil, err
		}
		if answer == 'S' {
			*conn = tls.Server(*conn, p.tls)
			client = pgproto3.NewBackend(*conn, *conn)
		}
	}
	return nil, nil, errors.New("no startup message")
}

// signIn returns the object id of who signs in as a role, by a token in the place of
// a password. The error may be shown to him.
func (p *proxy) signIn(ctx context.Context, client *pgproto3.Backend, role string) (string, error) {
	client.SetMaxBodyLen(maxToken)
	defer client.SetMaxBodyLen(0)
	client.Send(&pgproto3.AuthenticationCleartextPassword{})
	if err := client.SetAuthType(pgproto3.AuthTypeCleartextPassword); err != nil {
		return "", err
	}
	if err := client.Flush(); err != nil {
		return "", err
	}
	msg, err := client.Receive()
	if err != nil {
		return "", err
	}
	password, ok := msg.(*pgproto3.PasswordMessage)
	if !ok {
		return "", errors.New("a password was expected")
	}
	tok, err := p.verifier.Verify(ctx, password.Password)
	if err != nil {
		p.log.Info("token refused", "role", role, "why", err.Error())
		return "", fmt.Errorf("the password is no valid access token of the tenant for %s", audience)
	}
	var claims struct {
		Tenant string `json:"tid"`
		Object string `json:"oid"`
	}
	if err := tok.Claims(&claims); err != nil || claims.Tenant != p.tenant || claims.Object == "" {
		return "", errors.New("the access token is not of the tenant")
	}
	if !slices.Contains(p.roles[role], claims.Object) {
		return "", fmt.Errorf("the principal %s may not be the role %q", claims.Object, role)
	}
	return claims.Object, nil
}

// cancel passes on that a query is to be cancelled: a connection of its own, which
// proves by a secret of the server that it may.
func (p *proxy) cancel(ctx context.Context, msg *pgproto3.CancelRequest) error {
	up, err := new(net.Dialer).DialContext(ctx, "unix", p.server)
	if err != nil {
		return err
	}
	defer up.Close()
	text, err := msg.Encode(nil)
	if err != nil {
		return err
	}
	_, err = up.Write(text)
	return err
}
