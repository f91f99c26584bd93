package api

import (
	"cmp"
	"errors"
	"net/http"
	"strconv"

	"github.com/gatehouse-io/gatehouse/internal/estate"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
	"github.com/gatehouse-io/gatehouse/internal/store"
)

// actionAudit is what it takes to read the audit log, which tells every record
// that was ever written.
const actionAudit = "Microsoft.Insights/eventtypes/values/read"

// Bounds of one answer of the audit log: records, and bytes of the values in it.
const (
	maxAudit      = 500
	maxAuditBytes = 4 << 20
)

// audit answers the audit records from ?since= on, a page at a time.
func (d *Door) audit(w http.ResponseWriter, r *http.Request, s *session) error {
	if err := s.need(actionAudit, scope.Root, nil); err != nil {
		return err
	}
	since := int64(1)
	if text := r.URL.Query().Get("since"); text != "" {
		var err error
		if since, err = strconv.ParseInt(text, 10, 64); err != nil || since < 1 {
			return record.Invalid("since=%.40q, want the number of an audit record", text)
		}
	}
	out := wire.Audit{Records: []wire.AuditRecord{}}
	size := 0
	for rec, err := range d.conf.State.Audit(r.Context(), since) {
		if err != nil {
			return err
		}
		if len(out.Records) == maxAudit || size > maxAuditBytes {
			out.Next = rec.Seq
			break
		}
		for _, c := range rec.Changes {
			size += len(c.Value)
		}
		out.Records = append(out.Records, wireAudit(s.est, rec))
	}
	return serve.JSON(w, http.StatusOK, out)
}

func wireAudit(est *estate.Snapshot, r store.AuditRecord) wire.AuditRecord {
	out := wire.AuditRecord{Seq: r.Seq, Prev: r.Prev, Time: r.Time.UTC(), Request: r.Request, By: actor(est, r.By), Why: r.Why}
	for _, c := range r.Changes {
		change := wire.AuditChange{Kind: c.Kind, Parts: c.Parts, Value: c.Value, Was: c.Was}
		if value := cmp.Or(string(c.Value), string(c.Was)); value != "" {
			if v, err := estate.Decode(c.Kind, []byte(value)); err == nil {
				change.Name = nameOf(est, v)
			}
		} else if v, ok := est.Get(record.KeyOf(c.Kind, c.Parts...)); ok {
			change.Name = nameOf(est, v) // deleted then, and there again
		}
		out.Changes = append(out.Changes, change)
	}
	for _, p := range r.Private {
		out.Private = append(out.Private, wire.AuditPrivate{Bucket: p.Bucket, ID: p.ID, Delete: p.Delete})
	}
	for _, u := range r.Uses {
		out.Uses = append(out.Uses, wire.AuditUse{By: actor(est, u.By), Time: u.Time.UTC(), Action: u.Action, On: u.On, Request: u.Request})
	}
	for _, a := range r.Alerts {
		told := wire.AuditAlert{Identity: actor(est, a.Identity), Resource: a.Resource.String(), Way: string(a.Way), From: a.From, Detail: a.Detail}
		for _, c := range a.Clusters {
			told.Clusters = append(told.Clusters, c.String())
		}
		out.Alerts = append(out.Alerts, told)
	}
	return out
}

// actor names who did something; nobody is the house itself.
func actor(est *estate.Snapshot, id principal.ID) wire.Principal {
	if id.IsZero() {
		return wire.Principal{Kind: "House", Name: "the house"}
	}
	return wire.PrincipalOf(est, id)
}

// verifyAudit walks the whole chain. That it was tampered with is an answer.
func (d *Door) verifyAudit(w http.ResponseWriter, r *http.Request, s *session) error {
	if err := s.need(actionAudit, scope.Root, nil); err != nil {
		return err
	}
	n, err := d.conf.State.VerifyAudit(r.Context())
	out := wire.AuditVerdict{Records: n, Intact: err == nil}
	switch {
	case errors.Is(err, store.ErrTampered):
		out.Problem = err.Error()
	case err != nil:
		return err
	}
	return serve.JSON(w, http.StatusOK, out)
}
