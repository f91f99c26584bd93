// Package workloads_test tries what gives pods their identity on real control
// planes, with the real kubectl. It needs gatehouse-kube and gatehouse: make test
// builds them and names them in GATEHOUSE_KUBE and GATEHOUSE_BIN.
package workloads_test

import (
	"io"
	"net/http"
	"net/url"
	"testing"

	"github.com/gatehouse-io/gatehouse/test/plane"
)

// A stage is a plane with what these tests do on it.
type stage struct{ *plane.Plane }

func newStage(t *testing.T, workloadIdentity bool) *stage {
	t.Helper()
	return &stage{plane.Start(t, plane.Options{WorkloadIdentity: workloadIdentity})}
}

// sent posts a form to the token service at base, and returns what it answers.
func sent(client *http.Client, base string, form url.Values) (status int, body string, err error) {
	res, err := client.PostForm(base+"/"+plane.Tenant.ID.String()+"/oauth2/v2.0/token", form)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return res.StatusCode, string(text), err
}

// asserted is the form by which a client asks for a token of the vault.
func asserted(client, assertion string) url.Values {
	return url.Values{"grant_type": {"client_credentials"}, "client_id": {client}, "scope": {"https://vault.azure.net/.default"},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {assertion}}
}

// in is the stage in a subtest.
func (p *stage) in(t *testing.T) *stage { return &stage{p.In(t)} }
