package imds

import (
	"net/http"
	"net/url"
	"regexp"
	"time"
)

// machine is the metadata service of virtual machines.
type machine struct{}

var apiVersion = regexp.MustCompile(`^20[0-9]{2}-[0-9]{2}-[0-9]{2}$`)

func (m machine) read(_ http.ResponseWriter, r *http.Request) (a ask, err error) {
	a.style = m
	if err := fromHere(r, http.MethodGet); err != nil {
		return a, err
	}
	v, err := values(r.URL.RawQuery)
	if err != nil {
		return a, err
	}
	if version := v.Get("api-version"); !apiVersion.MatchString(version) || version < "2018-02-01" {
		return a, refuse("bad_request_104", "Required query variable 'api-version' is missing, or is not a version from 2018-02-01 on")
	}
	return m.want(v)
}

func (m machine) want(v url.Values) (a ask, err error) {
	a.style = m
	if a.resource, err = wanted(v); err != nil {
		return a, err
	}
	a.which, err = selectorOf(v, "client_id", "object_id", "msi_res_id", "mi_res_id")
	return a, err
}

// fromHere refuses what a browser, or a server that was made to fetch a URL, could
// send: the header Metadata says that the sender meant to ask this service, and a
// request that somebody passed on is not of this machine.
func fromHere(r *http.Request, method string) error {
	switch header := r.Header.Values("Metadata"); {
	case len(header) != 1 || header[0] != "true":
		return refuse("bad_request_102", "Required metadata header not specified")
	case len(r.Header.Values("X-Forwarded-For")) > 0 || len(r.Header.Values("Forwarded")) > 0:
		return refuse("bad_request_103", "A request that was passed on is not answered")
	case r.Method != method:
		return &Error{Status: http.StatusMethodNotAllowed, Code: "bad_request_101", Description: "The method must be " + method}
	}
	return nil
}

// machineAnswer has texts for numbers, as the service it stands for.
type machineAnswer struct {
	AccessToken  string `json:"access_token"`
	ClientID     string `json:"client_id"`
	ExpiresIn    string `json:"expires_in"`
	ExpiresOn    string `json:"expires_on"`
	ExtExpiresIn string `json:"ext_expires_in"`
	NotBefore    string `json:"not_before"`
	Resource     string `json:"resource"`
	TokenType    string `json:"token_type"`
}

func (machine) answer(id Identity, resource string, t Token, now time.Time) any {
	in := seconds(int64(t.Expires.Sub(now).Seconds()))
	return machineAnswer{
		AccessToken: t.Text, ClientID: id.Client.String(), ExpiresIn: in, ExpiresOn: seconds(t.Expires.Unix()), ExtExpiresIn: in,
		NotBefore: seconds(t.NotBefore.Unix()), Resource: resource, TokenType: "Bearer",
	}
}

type machineFailure struct {
	Error       string `json:"error"`
	Description string `json:"error_description"`
}

func (machine) failure(e *Error) any { return machineFailure{e.Code, e.Description} }

// endpoint is the path at which App Service and Cloud Shell are asked.
type endpoint struct{}

func (endpoint) read(w http.ResponseWriter, r *http.Request) (a ask, err error) {
	var v url.Values
	if r.Method == http.MethodPost {
		a.style = shell{}
		if err := fromHere(r, http.MethodPost); err != nil {
			return a, err
		}
		if v, err = form(w, r); err != nil {
			return a, err
		}
		if a.resource, err = wanted(v); err != nil {
			return a, err
		}
		a.which, err = selectorOf(v, "client_id", "object_id", "msi_res_id")
		return a, err
	}
	a.style = service{}
	if r.Method != http.MethodGet {
		return a, &Error{Status: http.StatusMethodNotAllowed, Code: "bad_request_101", Description: "The method must be GET or POST"}
	}
	if v, err = values(r.URL.RawQuery); err != nil {
		return a, err
	}
	switch v.Get("api-version") {
	case "2019-08-01":
		a.which, err = selectorOf(v, "client_id", "principal_id", "object_id", "mi_res_id")
	case "2017-09-01":
		a.style = service{old: true}
		a.which, err = selectorOf(v, "clientid")
	default:
		err = refuse("invalid_request", "The api-version must be 2019-08-01 or 2017-09-01.")
	}
	if err != nil {
		return a, err
	}
	a.resource, err = wanted(v)
	return a, err
}

// service is App Service. Before 2019 it wrote dates in words.
type service struct{ old bool }

type serviceAnswer struct {
	AccessToken string `json:"access_token"`
	ClientID    string `json:"client_id"`
	ExpiresOn   string `json:"expires_on"`
	Resource    string `json:"resource"`
	TokenType   string `json:"token_type"`
}

func (s service) answer(id Identity, resource string, t Token, _ time.Time) any {
	on := seconds(t.Expires.Unix())
	if s.old {
		on = t.Expires.UTC().Format("01/02/2006 15:04:05 -07:00")
	}
	return serviceAnswer{AccessToken: t.Text, ClientID: id.Client.String(), ExpiresOn: on, Resource: resource, TokenType: "Bearer"}
}

type serviceFailure struct {
	Status  int    `json:"statusCode"`
	Message string `json:"message"`
}

func (service) failure(e *Error) any { return serviceFailure{e.Status, e.Description} }

// shell is Cloud Shell, whose answer has a refresh token that is always empty.
type shell struct{}

type shellAnswer struct {
	machineAnswer
	RefreshToken string `json:"refresh_token"`
}

func (shell) answer(id Identity, resource string, t Token, now time.Time) any {
	return shellAnswer{machineAnswer: machine{}.answer(id, resource, t, now).(machineAnswer)}
}

func (shell) failure(e *Error) any { return machineFailure{e.Code, e.Description} }
