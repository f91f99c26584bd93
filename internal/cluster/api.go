package cluster

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// An API is a way to a cluster's API server, as somebody.
type API struct {
	Server string // https URL, no trailing slash
	Client *http.Client
}

// An apiError is an answer of the API server that is no success.
type apiError struct {
	Code int
	Body string
}

func (e *apiError) Error() string { return fmt.Sprintf("HTTP %d: %.500s", e.Code, e.Body) }

// newAPI returns a way to server that trusts the authorities in ca only and, when
// cert is set, shows that certificate.
func newAPI(server string, ca []byte, cert *tls.Certificate) (API, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return API{}, errors.New("no certificate in the authority bundle")
	}
	conf := &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	if cert != nil {
		conf.Certificates = []tls.Certificate{*cert}
	}
	// No proxy: the house talks to its own clusters, on this machine.
	return API{Server: server, Client: &http.Client{
		Transport: &http.Transport{TLSClientConfig: conf, ForceAttemptHTTP2: true},
		Timeout:   15 * time.Second,
	}}, nil
}

func (a API) close() { a.Client.CloseIdleConnections() }

// do sends a request and returns the body of a successful answer; any other
// answer is an *apiError.
func (a API) do(ctx context.Context, method, path, contentType string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, a.Server+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "gatehouse")
	res, err := a.Client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(io.LimitReader(res.Body, 16<<20))
	if err != nil {
		return nil, err
	}
	if res.StatusCode >= 300 {
		return nil, &apiError{Code: res.StatusCode, Body: string(data)}
	}
	return data, nil
}

// apply makes the object at path what it is here, and leaves what others wrote
// into other fields alone.
func (a API) apply(ctx context.Context, path string, object any) error {
	return a.applyText(ctx, path, marshal(object))
}

// applyText is apply for an object that is already YAML or JSON.
func (a API) applyText(ctx context.Context, path string, object []byte) error {
	_, err := a.do(ctx, http.MethodPatch, path+"?fieldManager=gatehouse&force=true", "application/apply-patch+yaml", object)
	return err
}

// remove deletes the object at path. That there is none is fine.
func (a API) remove(ctx context.Context, path string) error {
	_, err := a.do(ctx, http.MethodDelete, path, "", nil)
	if e, ok := errors.AsType[*apiError](err); ok && e.Code == http.StatusNotFound {
		return nil
	}
	return err
}
