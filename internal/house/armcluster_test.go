package house_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/house"
	"github.com/gatehouse-io/gatehouse/internal/sample"
)

func TestAClusterMadeThroughARMIsReal(t *testing.T) {
	t.Parallel()
	kube := os.Getenv("GATEHOUSE_KUBE")
	if kube == "" {
		t.Skip("GATEHOUSE_KUBE does not name gatehouse-kube; make test sets it")
	}
	conf := config(t, t.TempDir()+"/data")
	conf.Kube = kube
	h, err := house.Start(t.Context(), conf)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { h.Stop() }()
	call := func(method, path, body string) (int, http.Header, string) {
		t.Helper()
		if !strings.HasPrefix(path, "https://") {
			path = h.Authority() + path + "?api-version=2022-11-01"
		}
		req, _ := http.NewRequest(method, path, strings.NewReader(body))
		req.Header.Set("Authorization", "Bearer "+tokenFor(t, conf.Dir, "https://management.azure.com"))
		req.Header.Set("Content-Type", "application/json")
		res, err := client(t, conf.Dir).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, _ := io.ReadAll(res.Body)
		return res.StatusCode, res.Header, string(text)
	}
	at := sample.Subscription + "/resourceGroups/rsg-aksIdentityState1/providers/Microsoft.ContainerService/managedClusters/real-1"
	run := func(what, method, path, body string, want string) {
		t.Helper()
		begin := time.Now()
		code, head, text := call(method, path, body)
		poll := head.Get("Azure-AsyncOperation")
		if code >= 300 || poll == "" {
			t.Fatalf("%s: %d %s", what, code, text)
		}
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for end := time.Now().Add(4 * time.Minute); ; <-tick.C {
			_, _, text = call("GET", poll, "")
			if !strings.Contains(text, "InProgress") || time.Now().After(end) {
				break
			}
		}
		if !strings.Contains(text, want) {
			t.Errorf("%s: %s", what, text)
		}
		t.Logf("%s took %.1f s", what, time.Since(begin).Seconds())
	}
	admin := func() *http.Client {
		t.Helper()
		_, _, text := call("POST", at+"/listClusterAdminCredential", "")
		var out struct{ Kubeconfigs []struct{ Value string } }
		if json.Unmarshal([]byte(text), &out) != nil || len(out.Kubeconfigs) == 0 {
			t.Fatalf("credential: %s", text)
		}
		conf, _ := base64.StdEncoding.DecodeString(out.Kubeconfigs[0].Value)
		field := func(name string) []byte {
			m := regexp.MustCompile(name + `: (\S+)`).FindSubmatch(conf)
			data, _ := base64.StdEncoding.DecodeString(string(m[1]))
			return data
		}
		pair, err := tls.X509KeyPair(field("client-certificate-data"), field("client-key-data"))
		if err != nil {
			t.Fatal(err)
		}
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(field("certificate-authority-data"))
		return &http.Client{Timeout: time.Minute, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}}}}
	}
	server := func() string {
		for c := range h.Store().Current().Clusters() {
			if c.Name == "real-1" {
				return c.Endpoint
			}
		}
		return ""
	}
	list := func(c *http.Client) string {
		res, err := c.Get(server() + "/api/v1/namespaces")
		if err != nil {
			return err.Error()
		}
		res.Body.Close()
		return res.Status
	}
	body := `{"location":"eastus","identity":{"type":"SystemAssigned"},"properties":{"dnsPrefix":"real","agentPoolProfiles":[{"name":"nodepool1","mode":"System"}],"aadProfile":{"managed":true}}}`
	run("create", "PUT", at, body, "Succeeded")
	c := admin()
	if got := list(c); got != "200 OK" {
		t.Errorf("a fresh admin lists namespaces: %s", got)
	}
	res, err := c.Get(server() + "/api/v1/namespaces?watch=true&timeoutSeconds=300")
	if err != nil {
		t.Fatal(err)
	}
	cut := make(chan time.Time, 1)
	go func() { io.Copy(io.Discard, res.Body); cut <- time.Now() }()
	begin := time.Now()
	run("disable local accounts", "PUT", at, `{"location":"eastus","properties":{"disableLocalAccounts":true}}`, "Succeeded")
	if got := list(c); got != "401 Unauthorized" {
		t.Errorf("LA-02 old admin: %s", got)
	}
	select {
	case when := <-cut:
		t.Logf("LA-03: the watch was cut after %.1f s", when.Sub(begin).Seconds())
	case <-time.After(time.Minute):
		t.Error("LA-03: the watch goes on")
	}
	run("enable", "PUT", at, `{"location":"eastus","properties":{"disableLocalAccounts":false}}`, "Succeeded")
	if got := list(c); got != "401 Unauthorized" {
		t.Errorf("LA-08 old admin again: %s", got)
	}
	c = admin()
	run("rotate certs", "POST", at+"/rotateClusterCertificates", "", "Succeeded")
	if got := list(c); !strings.Contains(got, "x509") && got != "401 Unauthorized" {
		t.Errorf("old kubeconfig after rotate: %s", got)
	}
	if got := list(admin()); got != "200 OK" {
		t.Errorf("new kubeconfig after rotate: %s", got)
	}
	run("rotate signing keys", "POST", at+"/rotateServiceAccountSigningKeys", "", "Succeeded")
	for c := range h.Store().Current().Clusters() {
		if c.Name == "real-1" && len(c.ServiceAccountKeys) != 2 {
			t.Errorf("%d signing keys are published, want 2", len(c.ServiceAccountKeys))
		}
	}
	run("stop", "POST", at+"/stop", "", "Succeeded")
	run("start", "POST", at+"/start", "", "Succeeded")
	if got := list(admin()); got != "200 OK" {
		t.Errorf("after stop and start: %s", got)
	}
	// The house ends in the middle of a creation, and goes on at the next start.
	second := strings.Replace(at, "real-1", "real-2", 1)
	if code, _, text := call("PUT", second, strings.Replace(body, `"real"`, `"real2"`, 1)); code != 201 {
		t.Fatalf("%d %s", code, text)
	}
	h.Stop()
	if h, err = house.Start(t.Context(), conf); err != nil {
		t.Fatal(err)
	}
	if _, _, text := call("GET", second, ""); !strings.Contains(text, `"provisioningState":"Succeeded"`) {
		t.Errorf("after the restart: %s", text)
	}
	run("delete", "DELETE", at, "", "Succeeded")
	for r := range h.Store().Current().Records() {
		if strings.Contains(r.Key().String(), "real-1") {
			t.Errorf("left: %s", r.Key())
		}
	}
	if _, err := os.Stat(string(conf.Dir) + "/clusters/real-1"); !os.IsNotExist(err) {
		t.Errorf("its directory is left: %v", err)
	}
}
