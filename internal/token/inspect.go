package token

import (
	"fmt"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// An Inspection is what a token says about itself, for whoever wants to know why
// it is refused. It proves nothing, and it holds neither the token nor its
// signature. Claims that are missing are empty.
type Inspection struct {
	Alg, KeyID, Type             string // of the header
	Issuer, Subject, ID          string
	Audiences                    []string
	IssuedAt, NotBefore, Expires time.Time

	// Of tokens of Entra's shapes. Client is appid or azp, TokenUse our own claim.
	Tenant, ObjectID, Client, IDType, TokenUse string
	AuthTime                                   time.Time
	// BoundKey is the thumbprint of the key that the token is good with alone.
	BoundKey string

	// Of tokens of Kubernetes: whom the token was made for.
	Namespace, ServiceAccount, Pod string

	signed jws
}

// Signed reports whether one of an issuer's keys signed the token. The error wraps
// ErrKey if there is no such key, and else ErrSignature.
func (i Inspection) Signed(keys ForeignKeys) error { return keys.verify(i.signed) }

// InTime says how the token misses the time, as verifying it would. The error
// wraps ErrExpired.
func (i Inspection) InTime(now time.Time) error {
	return checkTimes(i.IssuedAt, i.NotBefore, i.Expires, now)
}

// Inspect reads what a token says. It is as strict as verifying about how a token
// is written, but it takes one for any number of audiences. Every error wraps
// ErrInvalid, and quotes nothing of a text that is no token.
func Inspect(raw string) (Inspection, error) {
	t, err := split(raw)
	if err != nil {
		return Inspection{}, err
	}
	payload, err := decode(t.payload)
	if err != nil {
		return Inspection{}, fmt.Errorf("payload: %w", err)
	}
	var c inspected
	if err := unmarshal(payload, &c, func() jsontext.Value { return c.Rest }, inspectedMembers); err != nil {
		return Inspection{}, fmt.Errorf("payload: %w", err)
	}
	i := Inspection{
		Alg: string(t.header.Alg), KeyID: string(t.header.Kid), Type: string(t.header.Typ),
		Issuer: string(c.Issuer), Subject: string(c.Subject), ID: string(c.ID), Audiences: c.Audiences,
		IssuedAt: c.IssuedAt.Time, NotBefore: c.NotBefore.Time, Expires: c.Expires.Time, AuthTime: c.AuthTime.Time,
		Tenant: string(c.Tenant), ObjectID: string(c.ObjectID), Client: string(c.AppID), IDType: string(c.IDType), TokenUse: string(c.TokenUse),
		BoundKey: string(c.Confirm.KeyID), Namespace: string(c.Kube.Namespace), ServiceAccount: string(c.Kube.ServiceAccount.Name), Pod: string(c.Kube.Pod.Name),
		signed: t,
	}
	if i.Client == "" {
		i.Client = string(c.Party)
	}
	return i, nil
}

// audiences is aud with any number of them.
type audiences []string

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (a *audiences) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if dec.PeekKind() == '[' {
		return (*list)(a).UnmarshalJSONFrom(dec)
	}
	var one text
	err := one.UnmarshalJSONFrom(dec)
	*a = audiences{string(one)}
	return err
}

// inspected are the claims that an Inspection tells.
type inspected struct {
	Issuer    text      `json:"iss"`
	Subject   text      `json:"sub"`
	Audiences audiences `json:"aud"`
	Expires   date      `json:"exp"`
	NotBefore date      `json:"nbf"`
	IssuedAt  date      `json:"iat"`
	AuthTime  date      `json:"auth_time"`
	ID        text      `json:"jti"`
	Tenant    text      `json:"tid"`
	ObjectID  text      `json:"oid"`
	AppID     text      `json:"appid"`
	Party     text      `json:"azp"`
	IDType    text      `json:"idtyp"`
	TokenUse  text      `json:"token_use"`
	Confirm   struct {
		KeyID text `json:"kid"`
	} `json:"cnf"`
	Kube struct {
		Namespace      text       `json:"namespace"`
		ServiceAccount kubeObject `json:"serviceaccount"`
		Pod            kubeObject `json:"pod"`
	} `json:"kubernetes.io"`
	Rest jsontext.Value `json:",embed"`
}

type kubeObject struct {
	Name text `json:"name"`
}

var inspectedMembers = []string{"iss", "sub", "aud", "exp", "nbf", "iat", "auth_time", "jti", "tid", "oid", "appid", "azp", "idtyp", "token_use", "cnf", "kubernetes.io"}
