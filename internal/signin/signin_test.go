package signin_test

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/signin"
)

// A service is a token service that counts what it is asked for.
type service struct {
	mu     sync.Mutex
	grants []string
	// refuse names a grant that is refused.
	refuse string
	life   int
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if strings.HasSuffix(r.URL.Path, "/devicecode") {
		fmt.Fprint(w, `{"device_code":"d","user_code":"ABCDEFGHI","verification_uri":"https://127.0.0.1/device","expires_in":900,"interval":1}`)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	grant := r.FormValue("grant_type")
	s.grants = append(s.grants, grant)
	if grant == s.refuse {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"error":"invalid_grant","error_description":"AADSTS50126: wrong. Trace ID: 1"}`)
		return
	}
	json.NewEncoder(w).Encode(map[string]any{"access_token": fmt.Sprint("token-", len(s.grants)), "refresh_token": "r", "token_type": "Bearer", "expires_in": s.life})
}

func (s *service) seen() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.grants, " ")
}

func start(t *testing.T, s *service) signin.Config {
	t.Helper()
	srv := httptest.NewTLSServer(s)
	t.Cleanup(srv.Close)
	ca := filepath.Join(t.TempDir(), "ca.crt")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	if err := os.WriteFile(ca, block, 0o600); err != nil {
		t.Fatal(err)
	}
	return signin.Config{Authority: srv.URL + "/", Tenant: "t", ClientID: "c", Resource: "api://x", CAFile: ca,
		Cache: filepath.Join(t.TempDir(), "tokens"), Method: signin.Secret, ClientSecret: "s"}
}

const device = "urn:ietf:params:oauth:grant-type:device_code"

func TestATokenIsKeptUntilItEnds(t *testing.T) {
	t.Parallel()
	s := &service{life: 3600}
	conf := start(t, s)
	now := time.Now()
	conf.Now = func() time.Time { return now }
	for range 3 {
		tok, err := signin.Token(t.Context(), conf)
		if err != nil || tok.AccessToken != "token-1" {
			t.Fatalf("Token = %+v, %v, want the first one", tok, err)
		}
	}
	files, err := filepath.Glob(filepath.Join(conf.Cache, "*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("kept files = %v, %v, want one", files, err)
	}
	if info, err := os.Stat(files[0]); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode of the kept token = %v, %v, want 0600", info.Mode(), err)
	}
	now = now.Add(59*time.Minute + time.Second) // too near to its end to arrive in time
	if tok, err := signin.Token(t.Context(), conf); err != nil || tok.AccessToken != "token-2" {
		t.Errorf("Token = %+v, %v, want a new one", tok, err)
	}
	if got := s.seen(); got != "client_credentials refresh_token" {
		t.Errorf("grants = %q", got)
	}
	conf.Resource = "api://y"
	if tok, err := signin.Token(t.Context(), conf); err != nil || tok.AccessToken != "token-3" {
		t.Errorf("Token for another resource = %+v, %v, want one of its own", tok, err)
	}
}

func TestARefusedRefreshTokenMeansSigningInAgain(t *testing.T) {
	t.Parallel()
	s := &service{life: 1, refuse: "refresh_token"}
	conf := start(t, s)
	conf.Method = signin.DeviceCode
	var told strings.Builder
	conf.Tell = &told
	for range 2 {
		if _, err := signin.Token(t.Context(), conf); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := s.seen(), device+" refresh_token "+device; got != want {
		t.Errorf("grants = %q, want %q", got, want)
	}
	if !strings.Contains(told.String(), "ABCDEFGHI") || !strings.Contains(told.String(), "https://127.0.0.1/device") {
		t.Errorf("told %q, want the address and the code", &told)
	}
}

func TestWhoAsksTwiceWasRefused(t *testing.T) {
	t.Parallel()
	s := &service{life: 3600}
	conf := start(t, s)
	for _, tt := range []struct{ asker, want string }{
		{"kubectl 1", "token-1"}, {"kubectl 2", "token-1"}, {"kubectl 2", "token-2"}, {"kubectl 3", "token-2"}, {"", "token-2"}, {"", "token-2"},
	} {
		conf.Asker = tt.asker
		if tok, err := signin.Token(t.Context(), conf); err != nil || tok.AccessToken != tt.want {
			t.Errorf("%q asks: Token = %+v, %v, want %s", tt.asker, tok, err, tt.want)
		}
	}
}

func TestAFileThatOthersCouldReadIsNoToken(t *testing.T) {
	t.Parallel()
	s := &service{life: 3600}
	conf := start(t, s)
	if _, err := signin.Token(t.Context(), conf); err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(filepath.Join(conf.Cache, "*"))
	if err := os.Chmod(files[0], 0o644); err != nil {
		t.Fatal(err)
	}
	if tok, err := signin.Token(t.Context(), conf); err != nil || tok.AccessToken != "token-2" {
		t.Errorf("Token = %+v, %v, want a new one", tok, err)
	}
}

func TestRefusalsAreTold(t *testing.T) {
	t.Parallel()
	s := &service{life: 3600, refuse: "password"}
	conf := start(t, s)
	conf.Method, conf.Username, conf.Password = signin.Password, "a@x.example", "hunter2hunter2"
	_, err := signin.Token(t.Context(), conf)
	if err == nil || !strings.Contains(err.Error(), "AADSTS50126: wrong.") || strings.Contains(err.Error(), "Trace ID") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("error = %v, want the service's words and no secret", err)
	}
	for law, change := range map[string]func(*signin.Config){
		"an unknown way":       func(c *signin.Config) { c.Method = "magic" },
		"no secret":            func(c *signin.Config) { c.Method, c.ClientSecret = signin.Secret, "" },
		"no password":          func(c *signin.Config) { c.Password = "" },
		"no authority file":    func(c *signin.Config) { c.CAFile = "/nonexistent" },
		"an unknown authority": func(c *signin.Config) { c.CAFile = "" },
	} {
		c := conf
		change(&c)
		if tok, err := signin.Token(t.Context(), c); err == nil || tok != nil {
			t.Errorf("%s: Token = %v, %v, want only an error", law, tok, err)
		}
	}
}
