package oidc_test

import (
	"strings"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/issue"
	"github.com/gatehouse-io/gatehouse/internal/serve"
)

// Who was refused finds why by the ids of the answer: what the assertion said, and
// nothing that would be good for anything (ZA-01).
func TestARefusalIsFoundByItsIds(t *testing.T) {
	t.Parallel()
	w, kube := newFederatedWorld(t)
	raw := kube.token(map[string]any{"sub": "system:serviceaccount:web:other"})
	r := w.post(tokenPath(tenantA.ID.String()), exchangeForm(workload.ClientID.String(), raw))
	if r.Code != 700213 {
		t.Fatalf("%d %s", r.Status, r.Raw)
	}
	found := w.trace.Recent(10, func(e serve.Event) bool {
		return strings.Contains(r.Raw, e.CorrelationID) && strings.Contains(r.Raw, e.TraceID)
	})
	if len(found) != 1 {
		t.Fatalf("%d events have the ids of %s", len(found), r.Raw)
	}
	e := found[0]
	if e.Client != workload.ClientID.String() || e.Issuer != clusterIssuer || e.Subject != "system:serviceaccount:web:other" || e.Audience != exchange {
		t.Errorf("%+v", e)
	}
	for _, part := range strings.Split(raw, ".") {
		if strings.Contains(e.Reason+e.Issuer+e.Subject+e.Audience+e.Client+e.User, part) {
			t.Errorf("a part of the token is in the trace: %+v", e)
		}
	}
	secret, err := issue.NewClientSecret(web.AppID, "canary", w.clock.Now(), 1)
	if err != nil {
		t.Fatal(err)
	}
	w.post(tokenPath(tenantA.ID.String()), exchangeForm(secret.Text.Reveal(), raw))
	for _, e := range w.trace.Recent(10, func(serve.Event) bool { return true }) {
		if e.Client != "" && e.Client != workload.ClientID.String() || strings.Contains(e.Reason, secret.Text.Reveal()) {
			t.Errorf("a secret in the place of a client id is in the trace: %+v", e)
		}
	}
}
