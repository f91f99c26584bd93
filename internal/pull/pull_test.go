//go:build linux

package pull_test

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	credentials "k8s.io/kubelet/pkg/apis/credentialprovider/v1"

	"github.com/gatehouse-io/gatehouse/internal/pull"
)

const (
	own     = "eyJ-of-the-kubelet-identity"
	refresh = "eyJ-of-the-registry"
)

// A world is a node agent and a house, of which each says what it was asked.
type world struct {
	asked        []string
	agent, house http.HandlerFunc
	conf         pull.Config
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		agent: func(out http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(out, `{"token":{"access_token":%q},"clientid":"c"}`, own)
		},
		house: func(out http.ResponseWriter, r *http.Request) {
			if r.FormValue("grant_type") != "access_token" || r.FormValue("access_token") != own {
				http.Error(out, "no", http.StatusBadRequest)
				return
			}
			fmt.Fprintf(out, `{"refresh_token":%q}`, refresh)
		},
	}
	socket := filepath.Join(t.TempDir(), "nmi.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	agent := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		w.asked = append(w.asked, "agent "+r.Method+" "+r.URL.String())
		w.agent(out, r)
	})}}
	agent.Start()
	t.Cleanup(agent.Close)
	house := httptest.NewTLSServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		w.asked = append(w.asked, "house "+r.Method+" "+r.URL.Path+" "+r.FormValue("service"))
		w.house(out, r)
	}))
	t.Cleanup(house.Close)
	w.conf = pull.Config{House: house.URL + "/", Socket: socket, Registries: map[string]string{"images.example:5000": "nodeimages"},
		HouseCA: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: house.Certificate().Raw})}
	return w
}

// ask is what the kubelet gets for a request.
func (w *world) ask(t *testing.T, request string) (string, error) {
	t.Helper()
	p, err := pull.New(w.conf)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	err = p.Serve(t.Context(), strings.NewReader(request), &out)
	return out.String(), err
}

func request(image string) string {
	return `{"kind":"CredentialProviderRequest","apiVersion":"credentialprovider.kubelet.k8s.io/v1","image":"` + image + `"}`
}

func TestTheKubeletGetsATokenOfOneRegistry(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ image, host, name string }{
		{"nodeimages.azurecr.io/team/web", "nodeimages.azurecr.io", "nodeimages"},
		{"nodeimages-a1b2.azurecr.io/web:1", "nodeimages-a1b2.azurecr.io", "nodeimages-a1b2"},
		{"images.example:5000/web@sha256:00", "images.example:5000", "nodeimages"},
	} {
		w := newWorld(t)
		text, err := w.ask(t, request(tt.image))
		if err != nil {
			t.Fatal(err)
		}
		var got credentials.CredentialProviderResponse
		if err := json.Unmarshal([]byte(text), &got); err != nil {
			t.Fatal(err)
		}
		want := map[string]credentials.AuthConfig{tt.host: {Username: "00000000-0000-0000-0000-000000000000", Password: refresh}}
		if diff := cmp.Diff(want, got.Auth); diff != "" || got.Kind != "CredentialProviderResponse" || got.APIVersion != "credentialprovider.kubelet.k8s.io/v1" || got.CacheKeyType != "Registry" {
			t.Errorf("%s: %s %s", tt.image, text, diff)
		}
		asked := []string{"agent GET /host/registry/token", "house POST /registries/" + tt.name + "/oauth2/exchange " + tt.name + ".azurecr.io"}
		if diff := cmp.Diff(asked, w.asked); diff != "" {
			t.Errorf("%s: %s", tt.image, diff)
		}
	}
}

// Whoever may write the name of an image must not choose who gets a token.
func TestNamesOfImagesLeadNowhereElse(t *testing.T) {
	t.Parallel()
	for _, image := range []string{"", "web", "nodeimages.azurecr.io", "docker.io/library/web", "evil.example/nodeimages.azurecr.io/web", "nodeimages.azurecr.io.evil.example/web",
		"a.b.azurecr.io/web", ".azurecr.io/web", "..azurecr.io/web", "x%2f..azurecr.io/web", "nodeimages.azurecr.io:5000/web", "user@nodeimages.azurecr.io/web",
		"Nodeimages.azurecr.io/web", "images.example/web", "-x.azurecr.io/web"} {
		w := newWorld(t)
		if text, err := w.ask(t, request(image)); err == nil || text != "" || !strings.Contains(err.Error(), "is of no registry of the house") || len(w.asked) > 0 {
			t.Errorf("%q: %s, %v, asked %q", image, text, err, w.asked)
		}
	}
}

func TestWhatGoesWrongIsSaidWithoutSecrets(t *testing.T) {
	t.Parallel()
	answer := func(status int, text string) http.HandlerFunc {
		return func(out http.ResponseWriter, _ *http.Request) { out.WriteHeader(status); fmt.Fprint(out, text) }
	}
	const image = "nodeimages.azurecr.io/web"
	for _, tt := range []struct {
		law     string
		change  func(*world)
		request string
		want    string
	}{
		{law: "the identity has no role", change: func(w *world) {
			w.house = answer(401, `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`)
		}, want: "401 authentication required: the kubelet identity of this cluster has no role there; give it AcrPull"},
		{law: "there is no such registry", change: func(w *world) { w.house = answer(404, `{"errors":[{"message":"There is no registry"}]}`) }, want: "404 There is no registry"},
		{law: "the agent is refused", change: func(w *world) { w.agent = answer(403, "access_denied:\nno kubelet identity") }, want: "403 access_denied: no kubelet identity"},
		{law: "the agent is not there", change: func(w *world) { w.conf.Socket += "x" }, want: "does not answer"},
		{law: "the house is not there", change: func(w *world) { w.conf.House = "https://127.0.0.1:1" }, want: "does not answer"},
		{law: "the house is somebody else", change: func(w *world) { w.conf.HouseCA = nil }, want: "certificate"},
		{law: "the house sends it elsewhere", change: func(w *world) {
			w.house = func(out http.ResponseWriter, r *http.Request) {
				http.Redirect(out, r, "https://evil.example/", http.StatusTemporaryRedirect)
			}
		}, want: "307"},
		{law: "the agent has no token", change: func(w *world) { w.agent = answer(200, "{}") }, want: "not a token"},
		{law: "the house has no token", change: func(w *world) { w.house = answer(200, "{}") }, want: "not a token"},
		{law: "another version", request: `{"kind":"CredentialProviderRequest","apiVersion":"credentialprovider.kubelet.k8s.io/v1beta1","image":"` + image + `"}`, want: "set apiVersion"},
		{law: "no request", request: "x", want: "cannot be read"},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if tt.change != nil {
				tt.change(w)
			}
			if tt.request == "" {
				tt.request = request(image)
			}
			text, err := w.ask(t, tt.request)
			if err == nil || text != "" || !strings.Contains(err.Error(), tt.want) || strings.ContainsAny(err.Error(), "\n") || strings.Contains(err.Error(), "eyJ") {
				t.Errorf("%s, %v; want %q", text, err, tt.want)
			}
		})
	}
}

func TestAConfigurationIsChecked(t *testing.T) {
	t.Parallel()
	for _, conf := range []pull.Config{
		{House: "http://house.example"}, {House: "https://house.example?x"}, {House: "https://house.example", HouseCA: []byte("x")},
		{House: "https://house.example", Registries: map[string]string{"Images.example": "n"}}, {House: "https://house.example", Registries: map[string]string{"images.example": "../n"}},
	} {
		if _, err := pull.New(conf); err == nil {
			t.Errorf("%+v is taken", conf)
		}
	}
}
