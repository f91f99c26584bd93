// Package csi_test mounts what is in a vault of a real house, by the provider for the
// Secrets Store CSI driver, as the identity of a workload of a real cluster. It needs
// gatehouse-kube.
package csi_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gatehouse-io/gatehouse/internal/azurerbac"
	"github.com/gatehouse-io/gatehouse/internal/csi"
	"github.com/gatehouse-io/gatehouse/internal/csi/csitest"
	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/guid"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/resource"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/test/plane"
)

const (
	exchange    = "api://AzureADTokenExchange"
	secretsUser = "4633458b-17de-408a-b874-0445c86b69e6"

	officer = "00482a5a-887f-4fb3-b363-3b7fe8e74483" // Key Vault Administrator
)

func id[T ~[16]byte](text string) T { return T(guid.MustParse[struct{}](text)) }

func identity(n, name string) directory.ManagedIdentity {
	return directory.ManagedIdentity{
		ID: id[principal.ID]("40000000-0000-4000-8000-0000000000" + n), Tenant: plane.Tenant.ID, ClientID: id[directory.AppID]("41000000-0000-4000-8000-0000000000" + n),
		DisplayName: name, Location: "westeurope", Resource: scope.MustParse(plane.Group + "/providers/Microsoft.ManagedIdentity/userAssignedIdentities/" + name),
	}
}

var (
	web    = identity("c1", "web") // may read the secrets of the vault
	vaultS = scope.MustParse(plane.Group + "/providers/Microsoft.KeyVault/vaults/kv-one")
)

func assign(n string, who principal.ID, role string) azurerbac.Assignment {
	return azurerbac.Assignment{ID: id[azurerbac.AssignmentID]("60000000-0000-4000-8000-0000000000" + n), Scope: vaultS, Principal: who, Role: id[azurerbac.DefinitionID](role)}
}

// A buffer is a log that is written from several sides.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// vault calls the vault as its administrator.
func vault(p *plane.Plane, method, path string, body any) map[string]any {
	p.T.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		p.T.Fatal(err)
	}
	req, err := http.NewRequestWithContext(p.T.Context(), method, p.House.Authority()+"/vaults/kv-one/"+path+"?api-version=7.4", bytes.NewReader(text))
	if err != nil {
		p.T.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+p.TokenFor("https://vault.azure.net"))
	req.Header.Set("Content-Type", "application/json")
	res, err := p.Client().Do(req)
	if err != nil {
		p.T.Fatal(err)
	}
	defer res.Body.Close()
	var out map[string]any
	if err := json.NewDecoder(res.Body).Decode(&out); err != nil || res.StatusCode/100 != 2 {
		p.T.Fatalf("%s %s: %s %v %v", method, path, res.Status, out, err)
	}
	return out
}

// exchanged is the access token of an identity for vaults, by a service account's token.
func exchanged(p *plane.Plane, client, assertion string) (int, []byte) {
	p.T.Helper()
	res, err := p.Client().PostForm(p.House.Authority()+"/"+plane.Tenant.ID.String()+"/oauth2/v2.0/token", url.Values{"grant_type": {"client_credentials"}, "client_id": {client},
		"scope": {"https://vault.azure.net/.default"}, "client_assertion": {assertion}, "client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}})
	if err != nil {
		p.T.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		p.T.Fatal(err)
	}
	return res.StatusCode, body
}

// Story 32: in each of its three ways, a mount has what its identity may read.
func TestAMountHasWhatItsIdentityMayRead(t *testing.T) {
	t.Parallel()
	p := plane.Start(t, plane.Options{WorkloadIdentity: true})
	p.Put(web, directory.FederatedCredential{Owner: web.ClientID, Name: "web", Issuer: p.Cluster().IssuerURL, Subject: "system:serviceaccount:default:web", Audiences: []string{exchange}},
		resource.Other{Scope: vaultS, Type: "Microsoft.KeyVault/vaults", Name: "kv-one", Location: "westeurope"},
		assign("c1", plane.Boss.ID, officer))
	vault(p, "PUT", "secrets/db", map[string]any{"value": "canary-one"})
	vault(p, "PUT", "secrets/blob", map[string]any{"value": "AAEC"})
	vault(p, "POST", "keys/sign/create", map[string]any{"kty": "EC", "crv": "P-256"})
	vault(p, "POST", "certificates/tls/create", map[string]any{"policy": map[string]any{
		"key_props": map[string]any{"kty": "RSA", "key_size": 2048, "exportable": true}, "secret_props": map[string]any{"contentType": "application/x-pkcs12"},
		"x509_props": map[string]any{"subject": "CN=web.example"}, "issuer": map[string]any{"name": "Self"}}})
	p.Until("the certificate is issued", func() bool { return vault(p, "GET", "certificates/tls/pending", nil)["status"] == "completed" })

	p.Must("", "create", "serviceaccount", "web")
	p.Must("", "create", "serviceaccount", "other")
	account := func(name string) string {
		return strings.TrimSpace(p.Must("", "create", "token", name, "--audience", exchange))
	}
	mine := account("web")

	// The machine's metadata service, and the node agent, which have tokens of web: they
	// are tried for themselves elsewhere.
	answered := func(w http.ResponseWriter, form func(body []byte) any) {
		status, body := exchanged(p, web.ClientID.String(), mine)
		w.WriteHeader(status)
		json.NewEncoder(w).Encode(form(body))
	}
	machine := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Metadata") != "true" || r.URL.Query().Get("resource") != "https://vault.azure.net" || r.URL.Query().Get("client_id") != web.ClientID.String() {
			http.Error(w, `{"error":"invalid_request","error_description":"Identity not found"}`, http.StatusBadRequest)
			return
		}
		answered(w, func(body []byte) any { return json.RawMessage(body) })
	}))
	t.Cleanup(machine.Close)
	dir, err := os.MkdirTemp("", "csi") // the path of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, "nmi.sock"))
	if err != nil {
		t.Fatal(err)
	}
	agent := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/host/token" || r.Header.Get("podns") != "default" || r.Header.Get("podname") != "p1" {
			http.Error(w, "no running pod is there", http.StatusNotFound)
			return
		}
		answered(w, func(body []byte) any {
			return map[string]any{"token": json.RawMessage(body), "clientid": web.ClientID.String()}
		})
	})}
	go agent.Serve(l)
	t.Cleanup(func() { agent.Close() })

	log := new(buffer)
	provider, err := csi.New(csi.Config{House: p.House.Authority(), HouseCA: p.CA(), Metadata: machine.URL, PodIdentity: filepath.Join(dir, "nmi.sock"), Version: "1.0.0",
		Log: slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- provider.Serve(ctx, filepath.Join(dir, "p.sock")) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	driver := csitest.Dial(t, filepath.Join(dir, "p.sock"))

	class := func(objects string, more ...string) map[string]string {
		c := map[string]string{"keyvaultName": "kv-one", "tenantId": plane.Tenant.ID.String(), "objects": objects}
		for i := 0; i < len(more); i += 2 {
			c[more[i]] = more[i+1]
		}
		return c
	}
	tokens := func(token string) string {
		return `{"` + exchange + `":{"token":"` + token + `","expirationTimestamp":"x"}}`
	}
	const tokensOf = "csi.storage.k8s.io/serviceAccount.tokens"
	workload := []string{"clientID", web.ClientID.String(), tokensOf, tokens(mine)}
	ways := map[string][]string{
		"workload identity":           workload,
		"the identity of the machine": {"useVMManagedIdentity", "true", "userAssignedIdentityID", web.ClientID.String()},
		"pod identity":                {"usePodIdentity", "true", "csi.storage.k8s.io/pod.namespace", "default", "csi.storage.k8s.io/pod.name", "p1"},
	}
	const db = "array:\n  - |\n    objectName: db\n    objectType: secret\n    objectAlias: conf/password\n    filePermission: '0400'\n"

	for name, way := range ways {
		if _, err := driver.Mount(t.Context(), class(db, way...)); status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), "secret db of vault kv-one") {
			t.Errorf("%s without a role: %v", name, err)
		}
	}
	p.Put(assign("c2", web.ID, secretsUser))
	for name, way := range ways {
		m, err := driver.Mount(t.Context(), class(db, way...))
		if err != nil || len(m.Files) != 1 || m.Files["conf/password"] != (csitest.File{Mode: 0o400, Contents: "canary-one"}) || m.Versions["secret/db"] == "" {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}

	t.Run("refused is who is somebody else", func(t *testing.T) {
		for law, more := range map[string][]string{
			"another service account":             {"clientID", web.ClientID.String(), tokensOf, tokens(account("other"))},
			"another client id":                   {"clientID", "41000000-0000-4000-8000-0000000000c9", tokensOf, tokens(mine)},
			"FED-03 a token for another audience": {"clientID", web.ClientID.String(), tokensOf, tokens(strings.TrimSpace(p.Must("", "create", "token", "web")))},
			"the machine's other identity":        {"useVMManagedIdentity", "true"},
			"another pod":                         {"usePodIdentity", "true", "csi.storage.k8s.io/pod.namespace", "default", "csi.storage.k8s.io/pod.name", "p2"},
		} {
			m, err := driver.Mount(t.Context(), class(db, more...))
			if c := status.Code(err); c != codes.Unauthenticated && c != codes.NotFound || m.Files != nil {
				t.Errorf("%s: %+v, %v", law, m, err)
			}
		}
	})

	t.Run("a TLS certificate, with its key by its secret, and what else there is", func(t *testing.T) {
		p.Put(assign("c3", web.ID, officer))
		const all = "array:\n  - |\n    objectName: tls\n    objectType: secret\n    objectAlias: tls.pem\n  - |\n    objectName: tls\n    objectType: cert\n    objectAlias: tls.crt\n" +
			"  - |\n    objectName: sign\n    objectType: key\n  - |\n    objectName: blob\n    objectType: secret\n    objectEncoding: base64\n"
		m, err := driver.Mount(t.Context(), class(all, workload...))
		if err != nil {
			t.Fatal(err)
		}
		key, rest := pem.Decode([]byte(m.Files["tls.pem"].Contents))
		crt, _ := pem.Decode(rest)
		public, _ := pem.Decode([]byte(m.Files["tls.crt"].Contents))
		if key == nil || crt == nil || public == nil || key.Type != "PRIVATE KEY" || !bytes.Equal(crt.Bytes, public.Bytes) {
			t.Fatalf("tls.pem has %q", m.Files["tls.pem"].Contents[:40])
		}
		if c, err := x509.ParseCertificate(crt.Bytes); err != nil || c.Subject.CommonName != "web.example" {
			t.Errorf("%v, %v", c, err)
		}
		if block, _ := pem.Decode([]byte(m.Files["sign"].Contents)); block == nil || block.Type != "PUBLIC KEY" {
			t.Errorf("sign is %q", m.Files["sign"].Contents)
		}
		if m.Files["blob"].Contents != "\x00\x01\x02" {
			t.Errorf("blob is %q", m.Files["blob"].Contents)
		}
	})

	t.Run("one object that is not there, and nothing is mounted", func(t *testing.T) {
		m, err := driver.Mount(t.Context(), class(db+"  - |\n    objectName: nil\n    objectType: secret\n", workload...))
		if status.Code(err) != codes.NotFound || m.Files != nil {
			t.Errorf("%+v, %v", m, err)
		}
	})

	t.Run("what changes is there when the driver asks again", func(t *testing.T) {
		before, err := driver.Mount(t.Context(), class(db, workload...))
		if err != nil {
			t.Fatal(err)
		}
		vault(p, "PUT", "secrets/db", map[string]any{"value": "canary-two"})
		after, err := driver.Mount(t.Context(), class(db, workload...))
		if err != nil || after.Files["conf/password"].Contents != "canary-two" || after.Versions["secret/db"] == before.Versions["secret/db"] {
			t.Errorf("%+v, %v", after, err)
		}
		pinned := strings.Replace(db, "objectAlias", "objectVersion: "+before.Versions["secret/db"]+"\n    objectAlias", 1)
		if m, err := driver.Mount(t.Context(), class(pinned, workload...)); err != nil || m.Files["conf/password"].Contents != "canary-one" {
			t.Errorf("the version that is named: %+v, %v", m, err)
		}
	})

	t.Run("a history is a folder, the newest first, without what is disabled", func(t *testing.T) {
		version := func(value string) string {
			id := vault(p, "PUT", "secrets/many", map[string]any{"value": value})["id"].(string)
			return id[strings.LastIndex(id, "/")+1:]
		}
		var ids []string
		for i := range 30 { // more than a page
			ids = append(ids, version(strconv.Itoa(i)))
		}
		vault(p, "PATCH", "secrets/many/"+ids[28], map[string]any{"attributes": map[string]any{"enabled": false}})
		const history = "array:\n  - |\n    objectName: many\n    objectType: secret\n    objectVersionHistory: "
		m, err := driver.Mount(t.Context(), class(history+"40\n", workload...))
		if err != nil || len(m.Files) != 29 || len(m.Versions) != 29 || m.Files["many/0"].Contents != "29" || m.Versions["secret/many/0"] != ids[29] {
			t.Errorf("%d files, %d versions, the first %q, %v", len(m.Files), len(m.Versions), m.Files["many/0"].Contents, err)
		}
		m, err = driver.Mount(t.Context(), class(history+"2\n    objectVersion: "+ids[29]+"\n    objectAlias: a/b\n", workload...))
		if err != nil || len(m.Files) != 2 || m.Files["a/b/0"].Contents != "29" || m.Files["a/b/1"].Contents == "" {
			t.Errorf("%+v, %v", m, err)
		}
		if m, err := driver.Mount(t.Context(), class(history+"2\n    objectVersion: "+ids[28]+"\n", workload...)); status.Code(err) != codes.NotFound || m.Files != nil {
			t.Errorf("%+v, %v", m, err)
		}
	})

	t.Run("a PFX is base64 unless it says that it is", func(t *testing.T) {
		const pfx = "array:\n  - |\n    objectName: tls\n    objectType: secret\n    objectFormat: pfx\n"
		text, err := driver.Mount(t.Context(), class(pfx, workload...))
		raw, rawErr := driver.Mount(t.Context(), class(pfx+"    objectEncoding: base64\n", workload...))
		if err := errors.Join(err, rawErr); err != nil {
			t.Fatal(err)
		}
		if got, err := base64.StdEncoding.DecodeString(text.Files["tls"].Contents); err != nil || string(got) != raw.Files["tls"].Contents || got[0] != 0x30 {
			t.Errorf("%.20q and %.20q, %v", text.Files["tls"].Contents, raw.Files["tls"].Contents, err)
		}
	})

	for _, hidden := range []string{"canary", mine} { // ZA-01
		if strings.Contains(log.String(), hidden) {
			t.Errorf("the log has %.20q", hidden)
		}
	}
}
