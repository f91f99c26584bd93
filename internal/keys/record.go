package keys

import (
	"crypto"
	"crypto/x509"
	"fmt"
	"time"

	"github.com/gatehouse-io/gatehouse/internal/directory"
	"github.com/gatehouse-io/gatehouse/internal/principal"
	"github.com/gatehouse-io/gatehouse/internal/record"
	"github.com/gatehouse-io/gatehouse/internal/store"
	"github.com/gatehouse-io/gatehouse/internal/token"
)

// The bucket of private state, and the ids in it: "head", and "key" with a kid.
const (
	bucket = "keys"
	headID = "head"
	keyID  = "key"
)

// head is the item that every change of the keys writes, under the condition that
// nobody did so in between. Replicas poll it alone.
type head struct {
	Stopped bool         `json:"stopped,omitzero"`
	Since   time.Time    `json:"since,omitzero"`
	By      principal.ID `json:"by,omitzero"`
}

// keyRecord is a key as it is sealed in the store.
type keyRecord struct {
	ID          string             `json:"kid"`
	Tenant      directory.TenantID `json:"tenant"`
	Purpose     token.Purpose      `json:"purpose"`
	Alg         string             `json:"alg"`
	NotBefore   time.Time          `json:"notBefore"`
	SignFrom    time.Time          `json:"signFrom"`
	NotAfter    time.Time          `json:"notAfter"`
	Certificate []byte             `json:"certificate"`
	PKCS8       []byte             `json:"pkcs8"`
}

// newKey makes a key and the op that stores it.
func newKey(c Config, m made, now time.Time) (store.PrivateOp, error) {
	notBefore, notAfter := m.life(c, now)
	k, err := token.GenerateKey(m.chain.tenant, m.chain.purpose, c.Alg, notBefore, notAfter)
	if err != nil {
		return store.PrivateOp{}, err
	}
	der, err := k.PKCS8()
	if err != nil {
		return store.PrivateOp{}, err
	}
	value, err := record.Marshal(keyRecord{
		ID: k.ID, Tenant: k.Tenant, Purpose: k.Purpose, Alg: k.Alg,
		NotBefore: notBefore.UTC(), SignFrom: m.signFrom.UTC(), NotAfter: notAfter.UTC(), Certificate: k.Certificate, PKCS8: der,
	})
	if err != nil {
		return store.PrivateOp{}, fmt.Errorf("encode signing key %s: %w", k.ID, err)
	}
	return store.PrivateOp{Bucket: bucket, ID: []string{keyID, k.ID}, Value: value}, nil
}

func dropKey(kid string) store.PrivateOp {
	return store.PrivateOp{Bucket: bucket, ID: []string{keyID, kid}}
}

// parseKey reads a stored key.
func parseKey(item store.PrivateItem) (ringKey, error) {
	var rec keyRecord
	if err := record.Unmarshal(item.Value, &rec); err != nil {
		return ringKey{}, err
	}
	if len(item.ID) != 2 || item.ID[1] != rec.ID {
		return ringKey{}, fmt.Errorf("key %q lies under %q", rec.ID, item.ID)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(rec.PKCS8)
	if err != nil {
		return ringKey{}, fmt.Errorf("key %s: %w", rec.ID, err)
	}
	private, ok := parsed.(crypto.Signer)
	if !ok {
		return ringKey{}, fmt.Errorf("key %s is a %T", rec.ID, parsed)
	}
	k, err := token.NewSigningKey(token.Key{
		ID: rec.ID, Tenant: rec.Tenant, Purpose: rec.Purpose, Alg: rec.Alg, Public: private.Public(),
		NotBefore: rec.NotBefore, NotAfter: rec.NotAfter, Certificate: rec.Certificate,
	}, private)
	if err != nil {
		return ringKey{}, err
	}
	return ringKey{SigningKey: k, signFrom: rec.SignFrom}, nil
}
