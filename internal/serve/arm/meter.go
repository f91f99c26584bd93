package arm

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/serve"
	"github.com/gatehouse-io/gatehouse/internal/serve/rehearse"
)

// count draws a request from the bucket of its caller, says how many are left, and
// refuses one too many (ARM-13). What is not of the caller's tenant is counted as
// the tenant's, so that nobody makes buckets by inventing subscriptions.
func (d *Door) count(w http.ResponseWriter, r *http.Request, s *session, at route) error {
	use := rehearse.Use{Tenant: s.tenant, Who: s.caller.ID}
	level, name := "tenant", s.tenant.String()
	if sub, ok := at.at.Subscription(); ok && s.ours(sub) {
		use.At, level, name = sub, "subscription", sub.Name()
	}
	what := "reads"
	switch {
	case r.Method == http.MethodDelete:
		use.Sort, what = rehearse.Deletes, "deletes"
	case r.Method == http.MethodPut, r.Method == http.MethodPatch, r.Method == http.MethodPost && at.kind != checkAccess:
		use.Sort, what = rehearse.Writes, "writes"
	}
	left := d.conf.Meter.Take(use)
	w.Header().Set("X-Ms-Ratelimit-Remaining-"+level+"-"+what, strconv.Itoa(left.Left))
	if left.Wait == 0 {
		return nil
	}
	rehearse.RetryAfter(w, left)
	code := "SubscriptionRequestsThrottled"
	if level == "tenant" {
		code = "TenantRequestsThrottled"
	}
	return serve.Refuse(http.StatusTooManyRequests, code, fmt.Sprintf(
		"Number of '%s' requests for %s '%s' actor '%s' exceeded. Please try again after '%d' seconds after additional tokens are available.",
		what, level, name, s.caller.ID, left.Wait/time.Second))
}
