package graph

import (
	"net/http"

	"github.com/gatehouse-io/gatehouse/internal/serve"
	"github.com/gatehouse-io/gatehouse/internal/serve/rehearse"
)

// count draws a request from the bucket of its caller, and refuses one too many.
func (d *Door) count(w http.ResponseWriter, s *session) error {
	left := d.conf.Meter.Take(rehearse.Use{Sort: rehearse.Graph, Tenant: s.tenant, Who: s.caller.ID})
	if left.Wait == 0 {
		return nil
	}
	rehearse.RetryAfter(w, left)
	return serve.Refuse(http.StatusTooManyRequests, "TooManyRequests", "Too many requests. Try again after the time that the header Retry-After names.")
}
