package clouds_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/serve"
	"github.com/gatehouse-io/gatehouse/internal/serve/clouds"
)

var (
	own    = clouds.Cloud{Name: "Gatehouse", Login: "https://house.example:8443", ResourceManager: "https://house.example:8443", Graph: "https://house.example:8443", SignInAtADFS: true}
	public = clouds.Cloud{Name: "AzureCloud", Login: "https://login.microsoftonline.com", ResourceManager: "https://management.azure.com", Graph: "https://graph.microsoft.com"}
)

func ask(c clouds.Cloud, method, url string) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	clouds.Handler(c, serve.Options{}).ServeHTTP(rec, httptest.NewRequest(method, url, nil))
	return rec
}

// What az and the SDKs read, in each of the forms.
func TestEachVersionHasItsForm(t *testing.T) {
	t.Parallel()
	type document struct {
		Name, ResourceManager, MicrosoftGraphResourceID, GraphEndpoint, GalleryEndpoint string
		Authentication                                                                  struct {
			LoginEndpoint string
			Audiences     []string
		}
		Suffixes map[string]string
	}
	for _, tt := range []struct {
		law, version string
		cloud        clouds.Cloud
		list         bool
		login, arm   string
	}{
		{"2015, for az cloud register", "2015-01-01", own, false, "https://house.example:8443/adfs", ""},
		{"2019, a list, for ARM_CLOUD_METADATA_URL", "2019-05-01", own, true, "https://house.example:8443/adfs", "https://house.example:8443/"},
		{"2022, for those who need not check an authority", "2022-09-01", own, false, "https://house.example:8443/", "https://house.example:8443/"},
		{"the public cloud is what it is", "2019-05-01", public, true, "https://login.microsoftonline.com/", "https://management.azure.com/"},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			rec := ask(tt.cloud, "GET", clouds.Path+"?api-version="+tt.version)
			var list []document
			var err error
			if tt.list {
				err = json.Unmarshal(rec.Body.Bytes(), &list)
			} else {
				list = make([]document, 1)
				err = json.Unmarshal(rec.Body.Bytes(), &list[0])
			}
			if rec.Code != http.StatusOK || err != nil || len(list) != 1 {
				t.Fatalf("%d %s: %v", rec.Code, rec.Body, err)
			}
			d := list[0]
			if d.Authentication.LoginEndpoint != tt.login || d.ResourceManager != tt.arm || d.Authentication.Audiences[0] != "https://management.core.windows.net/" {
				t.Errorf("%s", rec.Body)
			}
			if tt.version == "2015-01-01" {
				if d.GraphEndpoint == "" || d.GalleryEndpoint == "" {
					t.Errorf("%s", rec.Body)
				}
				return
			}
			if d.Name != tt.cloud.Name || d.MicrosoftGraphResourceID != tt.cloud.Graph+"/" || d.Suffixes["keyVaultDns"] == "" || d.Suffixes["acrLoginServer"] == "" {
				t.Errorf("%s", rec.Body)
			}
		})
	}
}

func TestBadQuestionsAreToldWhy(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		method, url string
		status      int
		code        string
	}{
		{"GET", clouds.Path, 400, "MissingApiVersionParameter"},
		{"GET", clouds.Path + "?api-version=2019-05-01&api-version=2015-01-01", 400, "BadRequest"},
		{"GET", clouds.Path + "?api-version=%zz", 400, "BadRequest"},
		{"POST", clouds.Path + "?api-version=2019-05-01", 405, "MethodNotAllowed"},
		{"GET", "/metadata/instance?api-version=2019-05-01", 404, "NotFound"},
	} {
		if rec := ask(own, tt.method, tt.url); rec.Code != tt.status || !strings.Contains(rec.Body.String(), tt.code) {
			t.Errorf("%s %s: %d %s, want %d %s", tt.method, tt.url, rec.Code, rec.Body, tt.status, tt.code)
		}
	}
}
