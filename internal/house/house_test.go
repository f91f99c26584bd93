package house_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/gatehouse-io/gatehouse/internal/house"
	"github.com/gatehouse-io/gatehouse/internal/loopback"
	"github.com/gatehouse-io/gatehouse/internal/sample"
)

// free returns an address of loopback that nobody takes while the test runs.
func free(t *testing.T) string {
	t.Helper()
	p, err := loopback.Take()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p.Addr()
}

func config(t *testing.T, dir string) house.Config {
	t.Helper()
	return house.Config{
		Dir: house.Dir(dir), Listen: free(t), WebhookListen: free(t),
		First: sample.Records(), FirstPassword: "correct horse battery",
		Progress: func(step string) { t.Log(step) },
	}
}

func client(t *testing.T, dir house.Dir) *http.Client {
	t.Helper()
	ca, err := os.ReadFile(dir.CA())
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		t.Fatal("no certificate in ca.crt")
	}
	return &http.Client{Timeout: time.Minute, Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: pool}}}
}

func operatorToken(t *testing.T, dir house.Dir) (op house.Operator, token string) {
	t.Helper()
	op, err := house.ReadOperator(dir.Operator())
	if err != nil {
		t.Fatal(err)
	}
	return op, tokenFor(t, dir, "api://gatehouse")
}

// tokenFor is a token of the operator for a resource.
func tokenFor(t *testing.T, dir house.Dir, resource string) string {
	t.Helper()
	op, err := house.ReadOperator(dir.Operator())
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client(t, dir).PostForm(op.Authority+"/"+op.Tenant.String()+"/oauth2/v2.0/token", url.Values{
		"grant_type": {"client_credentials"}, "client_id": {op.ClientID.String()}, "client_secret": {op.Secret}, "scope": {resource + "/.default"}})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal(body, &answer); err != nil || resp.StatusCode != 200 || answer.AccessToken == "" {
		t.Fatalf("token: %d %s %v", resp.StatusCode, body, err)
	}
	return answer.AccessToken
}

func get(t *testing.T, dir house.Dir, op house.Operator, token, path string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, op.Authority+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := client(t, dir).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestTheHouseComesUpServesItsOperatorAndIsFoundAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + "/data"
	conf := config(t, dir)
	var operator house.Operator
	for _, start := range []string{"first start", "second start"} {
		h, err := house.Start(t.Context(), conf)
		if err != nil {
			t.Fatalf("%s: %v", start, err)
		}
		op, token := operatorToken(t, conf.Dir)
		if start == "second start" && op != operator {
			t.Errorf("the operator changed from one start to the next")
		}
		operator = op
		if code, body := get(t, conf.Dir, op, token, "/gatehouse/v1/whoami"); code != 200 || !strings.Contains(body, `"kind":"ServicePrincipal"`) {
			t.Errorf("%s: whoami = %d %s", start, code, body)
		}
		if code, body := get(t, conf.Dir, op, "", "/gatehouse/v1/estate"); code != 401 {
			t.Errorf("%s: the estate without a token = %d %s, want 401", start, code, body)
		}
		if code, body := get(t, conf.Dir, op, token, "/subscriptions?api-version=2022-12-01"); code != 401 {
			t.Errorf("%s: JWT-14: Azure Resource Manager takes a token for another API: %d %s", start, code, body)
		}
		if code, body := get(t, conf.Dir, op, tokenFor(t, conf.Dir, "https://management.azure.com/"), "/subscriptions?api-version=2022-12-01"); code != 200 || !strings.Contains(body, strings.TrimPrefix(sample.Subscription, "/subscriptions/")) {
			t.Errorf("%s: subscriptions = %d %s", start, code, body)
		}
		if code, body := get(t, conf.Dir, op, tokenFor(t, conf.Dir, "https://graph.microsoft.com"), "/v1.0/users/faye@teknews.cloud"); code != 200 || !strings.Contains(body, `"userPrincipalName":"faye@teknews.cloud"`) {
			t.Errorf("%s: a user of Graph = %d %s", start, code, body)
		}
		if code, body := get(t, conf.Dir, op, "", "/readyz?verbose"); code != 200 || !strings.Contains(body, "[+]store ok") {
			t.Errorf("%s: readyz = %d %s", start, code, body)
		}
		h.Stop()
	}
}

func TestADirectoryThatOthersCanReadIsRefused(t *testing.T) { // ZA-03
	t.Parallel()
	dir := t.TempDir() + "/data"
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	h, err := house.Start(context.Background(), config(t, dir))
	if err == nil {
		h.Stop()
		t.Fatal("the house started in a directory that everybody can read")
	}
	if !strings.Contains(err.Error(), "chmod 700") {
		t.Errorf("error %q does not say what to do", err)
	}
}
