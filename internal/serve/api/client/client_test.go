package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gatehouse-io/gatehouse/internal/serve/api/client"
	"github.com/gatehouse-io/gatehouse/internal/serve/api/wire"
)

func token(context.Context) (string, error) { return "t", nil }

func TestARefusalSaysWhoseFaultItIs(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		law    string
		status int
		code   string // "" is an answer that is not a house's
		want   bool
	}{
		{"a value that is none is a mistake", http.StatusBadRequest, "BadRequest", true},
		{"a name of nothing is a mistake", http.StatusNotFound, "NotFound", true},
		{"what is there already is a mistake", http.StatusConflict, "AlreadyExists", true},
		{"what others changed meanwhile is none", http.StatusConflict, "Conflict", false},
		{"what the caller may not is none", http.StatusForbidden, "AuthorizationFailed", false},
		{"a token that is no good is none", http.StatusUnauthorized, "Unauthorized", false},
		{"too many requests are none", http.StatusTooManyRequests, "TooManyRequests", false},
		{"a failure of the house is none", http.StatusInternalServerError, "InternalServerError", false},
		{"what is not of a house tells nothing", http.StatusNotFound, "", false},
	} {
		t.Run(tt.law, func(t *testing.T) {
			t.Parallel()
			house := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tt.status)
				if tt.code != "" {
					fmt.Fprintf(w, `{"error":{"code":%q,"message":"no"}}`, tt.code)
				}
			}))
			defer house.Close()
			c := client.Client{Base: house.URL, Token: token}
			_, err := c.WhoAmI(t.Context())
			refused, ok := errors.AsType[*client.Error](err)
			if !ok || refused.Mistaken() != tt.want {
				t.Errorf("%d %s: %v, want a refusal that is a mistake: %t", tt.status, tt.code, err, tt.want)
			}
		})
	}
}

func TestWhetherAChangeWasMadeIsUnknownOnlyOnceItWasSent(t *testing.T) {
	t.Parallel()
	const unknown = "not known whether the change was made"
	house := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	defer house.Close()
	c := client.Client{Base: house.URL, Token: token}
	if _, err := c.Commit(t.Context(), wire.Changes{}); err == nil || !strings.Contains(err.Error(), unknown) {
		t.Errorf("a change without an answer: %v, want %q", err, unknown)
	}
	c.Token = func(context.Context) (string, error) { return "", io.ErrUnexpectedEOF }
	if _, err := c.Commit(t.Context(), wire.Changes{}); !errors.Is(err, io.ErrUnexpectedEOF) || strings.Contains(err.Error(), unknown) {
		t.Errorf("a change without a token, which was not sent: %v, want what came of the token alone", err)
	}
}
