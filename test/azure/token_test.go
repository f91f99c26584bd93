package azure_test

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
)

// claims are some of a token's.
type claims struct {
	Audience string `json:"aud"`
	Issuer   string `json:"iss"`
	UPN      string `json:"upn"`
	ObjectID string `json:"oid"`
}

// claimsOf reads a token without verifying it.
func claimsOf(t *testing.T, raw string) claims {
	t.Helper()
	var c claims
	readClaims(t, raw, &c)
	return c
}

func readClaims(t *testing.T, raw string, into any) {
	t.Helper()
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		t.Fatalf("%q is no token", raw)
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatal(err)
	}
}
