package imds_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/scope"
	"github.com/gatehouse-io/gatehouse/internal/serve/imds"
)

var (
	group  = "/subscriptions/50000000-0000-4000-8000-000000000001/resourceGroups/Web"
	first  = identity(1, group+"/providers/Microsoft.ManagedIdentity/userAssignedIdentities/First")
	second = identity(2, group+"/providers/Microsoft.ManagedIdentity/userAssignedIdentities/second")
	system = imds.Identity{Object: principal.ID{9}, Client: directory.AppID{9, 9}, Resource: scope.MustParse(group + "/providers/Microsoft.ContainerService/managedClusters/aks"), SystemAssigned: true}
	now    = time.Unix(1_795_000_000, 0)
)

func identity(n byte, at string) imds.Identity {
	return imds.Identity{Object: principal.ID{n}, Client: directory.AppID{n, n}, Resource: scope.MustParse(at)}
}

// serve returns a door for a caller with some identities.
func serve(t testing.TB, has ...imds.Identity) *imds.Door {
	t.Helper()
	d, err := imds.New(imds.Config{
		Caller: func(*http.Request) ([]imds.Identity, error) { return has, nil },
		Token: func(_ context.Context, id imds.Identity, resource string) (imds.Token, error) {
			switch resource {
			case "https://nowhere.example":
				return imds.Token{}, &imds.Error{Status: 400, Code: "invalid_resource", Description: "AADSTS500011: not found"}
			case "https://broken.example":
				return imds.Token{}, errors.New("10.0.0.1 is down")
			}
			return imds.Token{Text: "token of " + id.Object.String(), NotBefore: now.Add(-time.Minute), Expires: now.Add(time.Hour)}, nil
		},
		Now: func() time.Time { return now },
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

type reply struct {
	status int
	body   map[string]any
	raw    string
}

func ask(t testing.TB, d *imds.Door, method, target, body string, header ...string) reply {
	t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	d.ServeHTTP(w, r)
	out := reply{status: w.Code, raw: w.Body.String()}
	if w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("%s may be kept: %v", target, w.Header())
	}
	if err := json.Unmarshal(w.Body.Bytes(), &out.body); err != nil {
		t.Fatalf("%s: %v: %s", target, err, out.raw)
	}
	return out
}

const machineAsk = imds.Path + "?api-version=2018-02-01&resource=https%3A%2F%2Fmanagement.azure.com%2F"

// What machines get has texts for numbers, and the resource as it was asked for.
func TestTheAnswerOfAMachine(t *testing.T) {
	t.Parallel()
	got := ask(t, serve(t, first), "GET", machineAsk, "", "Metadata", "true")
	on := strconv.FormatInt(now.Unix()+3600, 10)
	want := map[string]any{"access_token": "token of " + first.Object.String(), "client_id": first.Client.String(), "expires_in": "3600", "ext_expires_in": "3600",
		"expires_on": on, "not_before": strconv.FormatInt(now.Unix()-60, 10), "resource": "https://management.azure.com/", "token_type": "Bearer"}
	if diff := cmp.Diff(want, got.body); diff != "" || got.status != 200 {
		t.Errorf("%d (-want +got):\n%s", got.status, diff)
	}
	got = ask(t, serve(t, first), "GET", imds.Endpoint+"?api-version=2019-08-01&resource=x", "", "X-IDENTITY-HEADER", "s")
	want = map[string]any{"access_token": "token of " + first.Object.String(), "client_id": first.Client.String(), "expires_on": on, "resource": "x", "token_type": "Bearer"}
	if diff := cmp.Diff(want, got.body); diff != "" || got.status != 200 {
		t.Errorf("App Service: %d (-want +got):\n%s", got.status, diff)
	}
	got = ask(t, serve(t, first), "GET", imds.Endpoint+"/?resource=x&api-version=2017-09-01&clientid="+first.Client.String(), "", "secret", "s")
	want["expires_on"] = now.Add(time.Hour).UTC().Format("01/02/2006 15:04:05 +00:00")
	if diff := cmp.Diff(want, got.body); diff != "" || got.status != 200 {
		t.Errorf("App Service of 2017: %d (-want +got):\n%s", got.status, diff)
	}
	got = ask(t, serve(t, first), "POST", imds.Endpoint, "resource=x", "Metadata", "true", "Content-Type", "application/x-www-form-urlencoded")
	if got.status != 200 || got.body["access_token"] == "" || got.body["refresh_token"] != "" || got.body["expires_in"] != "3600" || got.body["expires_on"] != on {
		t.Errorf("Cloud Shell: %d %s", got.status, got.raw)
	}
}

// PI-09: a caller gets a token of what he has, chosen in one way.
func TestWhichIdentity(t *testing.T) {
	t.Parallel()
	const many = "Multiple user assigned identities exist, please specify the clientId / resourceId of the identity in the token request"
	const none = "Identity not found"
	for _, tt := range []struct {
		law  string
		has  []imds.Identity
		with string
		want any
	}{
		{"the only one", []imds.Identity{first}, "", first},
		{"the machine's own before others", []imds.Identity{first, second, system}, "", system},
		{"none of several", []imds.Identity{first, second}, "", many},
		{"none", nil, "", none},
		{"by client id", []imds.Identity{first, second, system}, "&client_id=" + second.Client.String(), second},
		{"by client id in capitals", []imds.Identity{first, second}, "&client_id=" + strings.ToUpper(second.Client.String()), second},
		{"by object id", []imds.Identity{first, second}, "&object_id=" + first.Object.String(), first},
		{"by resource id", []imds.Identity{first, second}, "&msi_res_id=" + url.QueryEscape(first.Resource.String()), first},
		{"by resource id in another case", []imds.Identity{first, second}, "&mi_res_id=" + url.QueryEscape(strings.ToUpper(second.Resource.String())), second},
		{"the machine's own by its client id", []imds.Identity{first, system}, "&client_id=" + system.Client.String(), system},
		{"one of somebody else", []imds.Identity{first}, "&client_id=" + second.Client.String(), none},
		{"one that nobody has", []imds.Identity{first}, "&client_id=00000000-0000-4000-8000-000000000077", none},
		{"an object id as client id", []imds.Identity{first}, "&client_id=" + first.Object.String(), none},
		{"a name as client id", []imds.Identity{first}, "&client_id=first", none},
		{"nothing as client id", []imds.Identity{first}, "&client_id=", none},
		{"nothing as resource id", []imds.Identity{first}, "&msi_res_id=", none},
		{"the place above", []imds.Identity{first}, "&msi_res_id=" + url.QueryEscape(group), none},
		{"two ways at once", []imds.Identity{first}, "&client_id=" + first.Client.String() + "&object_id=" + first.Object.String(), "At most one of client_id and object_id can be in a request."},
		{"a client id and a resource id", []imds.Identity{first}, "&client_id=" + first.Client.String() + "&msi_res_id=" + url.QueryEscape(first.Resource.String()), "At most one of client_id and msi_res_id can be in a request."},
		{"both names of a resource id", []imds.Identity{first}, "&msi_res_id=" + url.QueryEscape(first.Resource.String()) + "&mi_res_id=" + url.QueryEscape(first.Resource.String()), "At most one of msi_res_id and mi_res_id can be in a request."},
		{"a client id and an empty resource id", []imds.Identity{first}, "&client_id=" + first.Client.String() + "&mi_res_id=", "At most one of client_id and mi_res_id can be in a request."},
		{"a client id twice", []imds.Identity{first, second}, "&client_id=" + first.Client.String() + "&client_id=" + second.Client.String(), "The parameter 'client_id' was sent more than once."},
		{"the same client id twice", []imds.Identity{first}, strings.Repeat("&client_id="+first.Client.String(), 2), "The parameter 'client_id' was sent more than once."},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			got := ask(t, serve(t, tt.has...), "GET", machineAsk+tt.with, "", "Metadata", "true")
			if want, ok := tt.want.(imds.Identity); ok {
				if got.status != 200 || got.body["access_token"] != "token of "+want.Object.String() {
					t.Errorf("%d %s, want %v", got.status, got.raw, want)
				}
				return
			}
			// 400 and nothing else: az asks again twelve times after a 404.
			if diff := cmp.Diff(map[string]any{"error": "invalid_request", "error_description": tt.want}, got.body); diff != "" || got.status != 400 {
				t.Errorf("%d (-want +got):\n%s", got.status, diff)
			}
		})
	}
}

// PI-05: what a browser, or a server that was tricked into fetching a URL,
// can send is not answered.
func TestWhatIsNotAnswered(t *testing.T) {
	t.Parallel()
	type row struct {
		law, method, target, body string
		header                    []string
		status                    int
		code                      string
	}
	good := []string{"Metadata", "true"}
	form := []string{"Metadata", "true", "Content-Type", "application/x-www-form-urlencoded"}
	for _, tt := range []row{
		{"no header", "GET", machineAsk, "", nil, 400, "bad_request_102"},
		{"a header that says no", "GET", machineAsk, "", []string{"Metadata", "false"}, 400, "bad_request_102"},
		{"a header in capitals", "GET", machineAsk, "", []string{"Metadata", "True"}, 400, "bad_request_102"},
		{"the header twice", "GET", machineAsk, "", []string{"Metadata", "true", "Metadata", "true"}, 400, "bad_request_102"},
		{"passed on", "GET", machineAsk, "", append(good, "X-Forwarded-For", "10.0.0.1"), 400, "bad_request_103"},
		{"passed on by the standard", "GET", machineAsk, "", append(good, "Forwarded", "for=10.0.0.1"), 400, "bad_request_103"},
		// PI-11: an empty header is one all the same, and says nothing about those behind it.
		{"passed on, behind an empty header", "GET", machineAsk, "", append(good, "X-Forwarded-For", "", "X-Forwarded-For", "10.0.0.1"), 400, "bad_request_103"},
		{"passed on by the standard, behind an empty header", "GET", machineAsk, "", append(good, "Forwarded", "", "Forwarded", "for=10.0.0.1"), 400, "bad_request_103"},
		{"passed on by nobody", "GET", machineAsk, "", append(good, "X-Forwarded-For", ""), 400, "bad_request_103"},
		{"a POST", "POST", machineAsk, "", good, 405, "bad_request_101"},
		{"a HEAD", "HEAD", machineAsk, "", good, 405, "bad_request_101"},
		{"a PUT", "PUT", machineAsk, "", good, 405, "bad_request_101"},
		{"a PATCH", "PATCH", machineAsk, "", good, 405, "bad_request_101"},
		{"a DELETE", "DELETE", machineAsk, "", good, 405, "bad_request_101"},
		{"OPTIONS, before a browser sends headers", "OPTIONS", machineAsk, "", good, 405, "bad_request_101"},
		{"TRACE", "TRACE", machineAsk, "", good, 405, "bad_request_101"},
		{"App Service by a PUT", "PUT", imds.Endpoint + "?api-version=2019-08-01&resource=x", "", good, 405, ""},
		{"no version", "GET", imds.Path + "?resource=x", "", good, 400, "bad_request_104"},
		{"an old version", "GET", imds.Path + "?resource=x&api-version=2017-09-01", "", good, 400, "bad_request_104"},
		{"a version of words", "GET", imds.Path + "?resource=x&api-version=latest", "", good, 400, "bad_request_104"},
		{"no resource", "GET", imds.Path + "?api-version=2018-02-01", "", good, 400, "invalid_request"},
		{"a resource twice", "GET", machineAsk + "&resource=x", "", good, 400, "invalid_request"},
		{"a resource with a line end", "GET", imds.Path + "?api-version=2018-02-01&resource=x%0a", "", good, 400, "invalid_resource"},
		{"a resource of 2 KB", "GET", imds.Path + "?api-version=2018-02-01&resource=" + strings.Repeat("x", 2048), "", good, 400, "invalid_resource"},
		{"a query of 100 KB", "GET", machineAsk + "&x=" + strings.Repeat("x", 100<<10), "", good, 400, "invalid_request"},
		{"a resource that is not there", "GET", imds.Path + "?api-version=2018-02-01&resource=https://nowhere.example", "", good, 400, "invalid_resource"},
		{"a token that cannot be had", "GET", imds.Path + "?api-version=2018-02-01&resource=https://broken.example", "", good, 500, "unknown"},
		{"Cloud Shell without the header", "POST", imds.Endpoint, "resource=x", []string{"Content-Type", "application/x-www-form-urlencoded"}, 400, "bad_request_102"},
		{"Cloud Shell without a resource", "POST", imds.Endpoint, "", form, 400, "invalid_request"},
		{"Cloud Shell with a form of 1 MB", "POST", imds.Endpoint, "resource=" + strings.Repeat("x", 1<<20), form, 400, "invalid_request"},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			got := ask(t, serve(t, first), tt.method, tt.target, tt.body, tt.header...)
			if code, _ := got.body["error"].(string); got.status != tt.status || code != tt.code || got.body["access_token"] != nil || strings.Contains(got.raw, "10.0.0.1") {
				t.Errorf("%d %s, want %d %s", got.status, got.raw, tt.status, tt.code)
			}
		})
	}
	for law, target := range map[string]string{
		"no version": "?resource=x", "the version of machines": "?resource=x&api-version=2018-02-01", "no resource": "?api-version=2019-08-01",
		"another's identity": "?resource=x&api-version=2019-08-01&client_id=" + second.Client.String(), "two ways": "?resource=x&api-version=2019-08-01&client_id=a&mi_res_id=b",
	} {
		got := ask(t, serve(t, first), "GET", imds.Endpoint+target, "", "X-IDENTITY-HEADER", "s")
		if got.status != 400 || got.body["statusCode"] != float64(400) || got.body["message"] == "" || got.body["access_token"] != nil {
			t.Errorf("App Service, %s: %d %s", law, got.status, got.raw)
		}
	}
}

// PI-06: a path has one spelling, and every other is nothing.
func TestPathsThatAreNotThere(t *testing.T) {
	t.Parallel()
	const query = "?api-version=2018-02-01&resource=x"
	for _, path := range []string{"/", "/metadata", "/metadata/instance", imds.Path + "/", "/" + imds.Path, "/metadata//identity/oauth2/token", "/metadata/./identity/oauth2/token",
		"/x/../metadata/identity/oauth2/token", "/metadata/identity/oauth2%2ftoken", "/metadata/%69dentity/oauth2/token", "/Metadata/identity/oauth2/token", "/metadata/identity/oauth2/token;x",
		"/metadata/identity/oauth2/token%00", `/metadata\identity/oauth2/token`, `/metadata/identity\oauth2\token`, "/metadata%5cidentity/oauth2/token", "/metadata/identity/oauth2%5Ctoken", `/metadata/x\../identity/oauth2/token`,
		"/x/%2e%2e/metadata/identity/oauth2/token", "/metadata/%2e/identity/oauth2/token", "/metadata/x/%2E%2E/identity/oauth2/token", "/metadata/x/..%2fidentity/oauth2/token", "/metadata/identity/oauth2/token.",
		"/metadata/identity/oauth2/token%2e", "/metadata/identity/oauth2/token/.", "/metadata/identity/oauth2/token%20", imds.Endpoint + "//", "/msi", "/MSI/token"} {
		if got := ask(t, serve(t, first), "GET", path+query, "", "Metadata", "true"); got.status != 404 || got.body["access_token"] != nil {
			t.Errorf("%s: %d %s", path, got.status, got.raw)
		}
	}
}

// Who the caller is, is asked with every request, and a caller that is not known
// gets nothing.
func TestTheCallerIsAsked(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	d, err := imds.New(imds.Config{
		Caller: func(r *http.Request) ([]imds.Identity, error) {
			switch r.Header.Get("Proxy-Authorization") {
			case "first":
				return []imds.Identity{first}, nil
			case "broken":
				return nil, io.ErrUnexpectedEOF
			}
			return nil, &imds.Error{Status: 400, Code: "invalid_request", Description: "Identity not found", Err: errors.New("nobody")}
		},
		Token: func(_ context.Context, id imds.Identity, _ string) (imds.Token, error) {
			return imds.Token{Text: id.Object.String(), Expires: now}, nil
		},
		Log: slog.New(slog.NewTextHandler(&log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	for who, status := range map[string]int{"first": 200, "broken": 500, "": 400, "second": 400} {
		got := ask(t, d, "GET", machineAsk, "", "Metadata", "true", "Proxy-Authorization", who)
		if got.status != status || (got.body["access_token"] == nil) == (status == 200) || strings.Contains(got.raw, "EOF") || strings.Contains(got.raw, "nobody") {
			t.Errorf("%q: %d %s", who, got.status, got.raw)
		}
	}
	if !strings.Contains(log.String(), "EOF") || !strings.Contains(log.String(), "nobody") {
		t.Errorf("the log has no reasons: %s", &log)
	}
	if _, err := imds.New(imds.Config{}); err == nil {
		t.Error("a door without callers was made")
	}
}

func FuzzRequests(f *testing.F) {
	f.Add("api-version=2018-02-01&resource=x&client_id=" + first.Client.String())
	f.Add("api-version=2018-02-01&resource=x&msi_res_id=" + url.QueryEscape(first.Resource.String()))
	f.Add("api-version=2018-02-01&resource=x;y")
	f.Fuzz(func(t *testing.T, query string) {
		r := httptest.NewRequest("GET", imds.Path, nil)
		r.URL.RawQuery = query
		r.Header.Set("Metadata", "true")
		w := httptest.NewRecorder()
		serve(t, first).ServeHTTP(w, r)
		var body map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || w.Code != 200 && w.Code != 400 && w.Code != 500 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		// Nobody gets a token of what he does not have, whatever he asks for.
		if text, ok := body["access_token"]; ok && text != "token of "+first.Object.String() || ok != (w.Code == 200) {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	})
}
