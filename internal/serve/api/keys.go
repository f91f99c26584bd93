package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/gatehouse-io/gatehouse/internal/keys"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
)

// Operations on signing keys, all at the root.
const (
	actionKeys    = "Microsoft.Directory/signingKeys/read"
	actionRotate  = "Microsoft.Directory/signingKeys/rotate/action"
	actionStop    = "Microsoft.Directory/signingKeys/stop/action"
	actionIssuing = "Microsoft.Directory/signingKeys/issuing/action"
)

// Ring is what this door needs from the signing keys.
type Ring interface {
	List() (all []keys.Status, stopped bool, err error)
	Rotate(ctx context.Context, by principal.ID) error
	EmergencyStop(ctx context.Context, by principal.ID, kid string) error
	StopIssuing(ctx context.Context, by principal.ID, why string) error
	ResumeIssuing(ctx context.Context, by principal.ID, why string) error
}

// ring returns the signing keys, if the caller may do something to them.
func (d *Door) ring(s *session, action string) (Ring, error) {
	if d.conf.Ring == nil {
		return nil, notHere()
	}
	return d.conf.Ring, s.need(action, scope.Root, nil)
}

func (d *Door) listKeys(w http.ResponseWriter, _ *http.Request, s *session) error {
	ring, err := d.ring(s, actionKeys)
	if err != nil {
		return err
	}
	all, stopped, err := ring.List()
	if errors.Is(err, keys.ErrStale) {
		return &serve.Error{Status: http.StatusServiceUnavailable, Code: "ServiceUnavailable", Message: "The signing keys cannot be read right now.", Err: err}
	}
	if err != nil {
		return err
	}
	out := wire.Keys{Stopped: stopped, Keys: make([]wire.Key, len(all))}
	for i, k := range all {
		out.Keys[i] = wire.Key{
			ID: k.Key.ID, Tenant: k.Key.Tenant.String(), Purpose: string(k.Key.Purpose), Alg: k.Key.Alg,
			SignFrom: k.SignFrom.UTC(), NotAfter: k.Key.NotAfter.UTC(), Signs: k.Signs,
		}
	}
	return serve.JSON(w, http.StatusOK, out)
}

func (d *Door) rotate(w http.ResponseWriter, r *http.Request, s *session) error {
	ring, err := d.ring(s, actionRotate)
	if err != nil {
		return err
	}
	return done(w, ring.Rotate(r.Context(), s.caller.ID))
}

// stopKey removes a key at once. The caller's own token may have been signed with
// it; then he must sign in again.
func (d *Door) stopKey(w http.ResponseWriter, r *http.Request, s *session) error {
	ring, err := d.ring(s, actionStop)
	if err != nil {
		return err
	}
	var in wire.StopKey
	if err := serve.Decode(w, r, maxSmall, &in); err != nil {
		return err
	}
	err = ring.EmergencyStop(r.Context(), s.caller.ID, in.ID)
	if errors.Is(err, keys.ErrNotFound) {
		return &serve.Error{Status: http.StatusNotFound, Code: "NotFound", Message: "There is no signing key " + serve.Printable(in.ID, 64) + ".", Err: err}
	}
	return done(w, err)
}

// issuing stops all signing, or lets it go on.
func (d *Door) issuing(w http.ResponseWriter, r *http.Request, s *session) error {
	ring, err := d.ring(s, actionIssuing)
	if err != nil {
		return err
	}
	var in wire.Issuing
	if err := serve.Decode(w, r, maxSmall, &in); err != nil {
		return err
	}
	if len(in.Why) > maxReason {
		return record.Invalid("the reason has %d bytes, the limit is %d", len(in.Why), maxReason)
	}
	if in.Stopped {
		return done(w, ring.StopIssuing(r.Context(), s.caller.ID, in.Why))
	}
	return done(w, ring.ResumeIssuing(r.Context(), s.caller.ID, in.Why))
}

// maxReason bounds the reason of a small change, in bytes.
const maxReason = 1024

// done answers what has no result but its success.
func done(w http.ResponseWriter, err error) error {
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}
