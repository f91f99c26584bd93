//go:build linux

package nmi

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/gatehouse-io/gatehouse/internal/serve/nodes/wire"
)

// A house is where tokens come from.
type house struct {
	url       string
	tokenFile string
	client    *http.Client
	slots     chan struct{} // held while the house is asked
}

// A house signs as fast as its processors can, and refuses when too many wait. So
// the agent of a node lets its own pods wait here, and comes again.
const (
	askAtOnce  = 8
	askTries   = 5
	firstPause = 100 * time.Millisecond // doubled each time, with up to as much again by chance
)

func newHouse(conf Config) (*house, error) {
	u, err := url.Parse(conf.House)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.User != nil {
		return nil, fmt.Errorf("the house %q is not an https URL", conf.House)
	}
	var roots *x509.CertPool
	if len(conf.HouseCA) > 0 {
		if roots = x509.NewCertPool(); !roots.AppendCertsFromPEM(conf.HouseCA) {
			return nil, errors.New("there is no certificate in the authority of the house")
		}
	}
	return &house{url: wire.Audience(conf.House), tokenFile: conf.TokenFile, slots: make(chan struct{}, askAtOnce), client: &http.Client{
		Timeout:       10 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{ForceAttemptHTTP2: true, TLSHandshakeTimeout: 5 * time.Second, IdleConnTimeout: time.Minute, MaxConnsPerHost: 8,
			TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}},
	}}, nil
}

// credential reads the agent's token, which the kubelet writes anew from time to time.
func (h *house) credential() (string, error) {
	text, err := os.ReadFile(h.tokenFile)
	if err != nil {
		return "", err
	}
	raw := strings.TrimSpace(string(text))
	if raw == "" {
		return "", errors.New(h.tokenFile + " is empty")
	}
	return raw, nil
}

// maxAnswer bounds what the house may answer, in bytes.
const maxAnswer = 256 << 10

// errBusy means that the house answered that it has too much to do.
var errBusy = errors.New("the house is busy")

// token asks the house, again when it is busy. What the pod may know of a refusal is
// a *refusal.
func (h *house) token(ctx context.Context, ask wire.Ask) (wire.Answer, error) {
	select {
	case h.slots <- struct{}{}:
	case <-ctx.Done():
		return wire.Answer{}, later("the request ended", ctx.Err())
	}
	defer func() { <-h.slots }()
	for try := 1; ; try++ {
		ans, err := h.once(ctx, ask)
		if !errors.Is(err, errBusy) || try == askTries {
			return ans, err
		}
		wait := firstPause << (try - 1)
		if pause(ctx, wait+rand.N(wait)) != nil {
			return wire.Answer{}, err
		}
	}
}

func (h *house) once(ctx context.Context, ask wire.Ask) (wire.Answer, error) {
	failed := fmt.Sprintf("failed to get service principal token for pod:%s/%s, error: ", ask.Pod.Namespace, ask.Pod.Name)
	if ask.Machine {
		failed = "no token of the kubelet identity: "
	}
	raw, err := h.credential()
	if err != nil {
		return wire.Answer{}, later(failed+"the agent has no token of its own", err)
	}
	body, err := json.Marshal(ask)
	if err != nil {
		return wire.Answer{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url, bytes.NewReader(body))
	if err != nil {
		return wire.Answer{}, err
	}
	req.Header.Set("Authorization", "Bearer "+raw)
	req.Header.Set("Content-Type", "application/json")
	res, err := h.client.Do(req)
	if err != nil {
		return wire.Answer{}, later(failed+"the house does not answer", err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return wire.Answer{}, later(failed+"the house does not answer", err)
	}
	if res.StatusCode == http.StatusOK {
		var ans wire.Answer
		if err := json.Unmarshal(text, &ans); err != nil || ans.AccessToken == "" {
			return wire.Answer{}, later(failed+"the house's answer cannot be read", errors.New("not a token"))
		}
		return ans, nil
	}
	var no wire.Refusal
	if json.Unmarshal(text, &no) != nil || no.Error == "" {
		return wire.Answer{}, later(failed+"the house answered "+res.Status, nil)
	}
	why := failed + printable(no.Error+": "+no.Description)
	switch {
	case res.StatusCode == http.StatusUnauthorized:
		// It is the agent that is not known, and no fault of the pod.
		return wire.Answer{}, later(failed+"the house does not know this agent", errors.New(no.Description))
	case res.StatusCode == http.StatusTooManyRequests || res.StatusCode >= http.StatusInternalServerError:
		return wire.Answer{}, later(why, errBusy)
	}
	return wire.Answer{}, &refusal{status: http.StatusForbidden, text: why}
}

// printable is a text without what could forge a line of a log.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s[:min(len(s), 1000)])
}
