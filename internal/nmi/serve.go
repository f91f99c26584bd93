//go:build linux

package nmi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/nmi/steer"
	"github.com/gatehouse-io/gatehouse/internal/podid"
	"github.com/gatehouse-io/gatehouse/internal/serve/imds"
	"github.com/gatehouse-io/gatehouse/internal/serve/nodes/wire"
)

// pods answers what comes from pods. There is one path, in one spelling; nothing
// is passed on to whatever else may be at the metadata address (PI-06).
func (a *agent) pods() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := a.now()
		got, err := a.pod(r)
		if err == nil {
			if err = got.seat.still(); err != nil {
				// Another pod may be there already, who would see the answer.
				a.log(r, start, 0, got.pod.Ref(), err)
				panic(http.ErrAbortHandler)
			}
			a.log(r, start, http.StatusOK, got.pod.Ref(), nil)
			imds.Answer(w, got.identity(), got.resource, got.token(), a.now())
			return
		}
		a.log(r, start, refuse(w, err), got.pod.Ref(), err)
	})
}

// A grant is a token for a pod.
type grant struct {
	seat
	wire.Answer
	resource string
}

func (g grant) identity() imds.Identity {
	return imds.Identity{Object: g.Object, Client: g.Client, Resource: g.Answer.Resource}
}

func (g grant) token() imds.Token {
	return imds.Token{Text: g.AccessToken, NotBefore: time.Unix(g.NotBefore, 0), Expires: time.Unix(g.Expires, 0)}
}

// pod finds out who asks, for what, and whether he gets it.
func (a *agent) pod(r *http.Request) (g grant, err error) {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !from.Addr().Is4() { // IPv6 does not come here, nor in disguise
		return g, forbid("the sender has no IPv4 address")
	}
	leave, ok := a.pace.enter(from.Addr(), a.now())
	if !ok {
		return g, &refusal{status: http.StatusTooManyRequests, text: fmt.Sprintf("more than %d requests in a second, or more than %d at once", perSecond, atOnce), after: time.Second}
	}
	defer leave()
	if err := place(r); err != nil {
		return g, err
	}
	want, err := imds.Read(r)
	if err != nil {
		return g, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), a.patience())
	defer cancel()
	var v *view
	if g.seat, v, err = a.who(ctx, from.Addr()); err != nil {
		return g, err
	}
	ask, err := a.ask(ctx, g.seat.pod, v, want)
	if err != nil {
		return g, err
	}
	g.resource = want.Resource
	if g.Answer, err = a.house.token(ctx, ask); err != nil {
		return g, err
	}
	// The house, or who waited for it before, may have taken long (PI-07).
	err = a.views.still(ctx, v, func(now *view) error { return a.same(ctx, g.seat, now, ask, want) })
	var no *refusal
	if err != nil && !errors.As(err, &no) {
		err = later("the API server cannot be asked whether that is still so", err)
	}
	return g, err
}

// place refuses every path but one, and every host but that of the metadata service:
// a name that leads here was made by somebody else (PI-11).
func place(r *http.Request) error {
	path, _, _ := strings.Cut(r.RequestURI, "?")
	switch host := strings.TrimSuffix(r.Host, ":80"); {
	case path != imds.Path && len(path) >= len("/metadata/instance") && strings.EqualFold(path[:len("/metadata/instance")], "/metadata/instance"):
		return forbid("Request blocked by AAD Pod Identity NMI")
	case path != imds.Path:
		return &refusal{status: http.StatusNotFound, text: "there is nothing here but " + imds.Path}
	case host != steer.Metadata.String():
		return &refusal{status: http.StatusBadRequest, text: "the host is not " + steer.Metadata.String()}
	}
	return nil
}

// refuse answers an error, and returns the status.
func refuse(w http.ResponseWriter, err error) int {
	w.Header().Set("Cache-Control", "no-store")
	var form *imds.Error
	if errors.As(err, &form) {
		imds.Refuse(w, form)
		return form.Status
	}
	var no *refusal
	if !errors.As(err, &no) {
		no = &refusal{status: http.StatusInternalServerError, text: "the request could not be answered; the agent's log has the reason"}
	}
	if no.after > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(no.after.Seconds())))
	}
	http.Error(w, no.text, no.status)
	return no.status
}

// log writes one line about a request, and counts it.
func (a *agent) log(r *http.Request, start time.Time, status int, pod podid.Ref, err error) {
	took := a.now().Sub(start)
	a.meter.count(status, took)
	level, attrs := slog.LevelInfo, []slog.Attr{slog.String("from", r.RemoteAddr), slog.Int("status", status), slog.Duration("took", took)}
	if pod != (podid.Ref{}) {
		attrs = append(attrs, slog.String("pod", pod.String()))
	}
	if err != nil {
		attrs = append(attrs, slog.String("error", err.Error()))
	}
	if status >= http.StatusInternalServerError {
		level = slog.LevelError
	}
	a.conf.Log.LogAttrs(r.Context(), level, "token", attrs...)
}

type connKey struct{}

func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}
