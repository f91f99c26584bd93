package keyvault

import (
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/gatehouse-io/gatehouse/internal/vault"
)

// useInput is what is asked of a key.
type useInput struct {
	Alg    string  `json:"alg"`
	Value  bytes64 `json:"value"`  // of verify, the signature
	Digest bytes64 `json:"digest"` // of verify alone
}

type valueBody struct {
	Value bytes64 `json:"value"`
}

type resultBody struct {
	KID   string  `json:"kid"`
	Value bytes64 `json:"value"`
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails
	return b
}

// keyFor finds the key of a call for an operation. What a key made may be undone
// and verified when its time is over or not yet there, as in Key Vault.
func (c *call) keyFor(op vault.Op, late bool) (vault.Object, vault.Version, error) {
	o, v, err := c.object()
	if err != nil {
		return vault.Object{}, vault.Version{}, err
	}
	if v.Key == nil {
		return vault.Object{}, vault.Version{}, fmt.Errorf("version %s holds no key", v.ID)
	}
	if err := v.Valid(c.now); err != nil && !(late && !errors.Is(err, vault.ErrDisabled)) {
		return vault.Object{}, vault.Version{}, err
	}
	return o, v, v.Key.Permit(op)
}

// public does something with the public half of the key: everybody could.
func (c *call) public(op vault.Op, do func(vault.PublicKey, useInput) ([]byte, error)) (answer, error) {
	var in useInput
	if err := c.decode(&in); err != nil {
		return answer{}, err
	}
	o, v, err := c.keyFor(op, false)
	if err != nil {
		return answer{}, err
	}
	out, err := do(*v.Key, in)
	if err != nil {
		return answer{}, err
	}
	return ok(resultBody{c.idOf(vault.Keys, o, v.ID), out})
}

// private does something with the private half, and records it.
func (c *call) private(op vault.Op, late bool, do func(vault.PrivateKey, useInput) ([]byte, error)) (answer, error) {
	var in useInput
	if err := c.decode(&in); err != nil {
		return answer{}, err
	}
	o, v, err := c.keyFor(op, late)
	if err != nil {
		return answer{}, err
	}
	der, err := c.d.conf.Safe.Material(c.r.Context(), o, v.ID)
	if err != nil {
		return answer{}, err
	}
	var out []byte
	err = c.d.using.do(c.r.Context(), func() error {
		key, err := vault.ParsePrivateKey(der)
		if err != nil {
			return err
		}
		out, err = do(key, in)
		return err
	})
	if err != nil {
		return answer{}, err
	}
	if err := c.use(v.ID); err != nil {
		return answer{}, err
	}
	return ok(resultBody{c.idOf(vault.Keys, o, v.ID), out})
}

func (c *call) encrypt() (answer, error) {
	return c.public(vault.Encrypt, func(k vault.PublicKey, in useInput) ([]byte, error) { return k.Encrypt(in.Alg, in.Value) })
}

func (c *call) wrap() (answer, error) {
	return c.public(vault.Wrap, func(k vault.PublicKey, in useInput) ([]byte, error) { return k.Encrypt(in.Alg, in.Value) })
}

func (c *call) decrypt() (answer, error) {
	return c.private(vault.Decrypt, true, func(k vault.PrivateKey, in useInput) ([]byte, error) { return k.Decrypt(in.Alg, in.Value) })
}

func (c *call) unwrap() (answer, error) {
	return c.private(vault.Unwrap, true, func(k vault.PrivateKey, in useInput) ([]byte, error) { return k.Decrypt(in.Alg, in.Value) })
}

func (c *call) sign() (answer, error) {
	return c.private(vault.Sign, false, func(k vault.PrivateKey, in useInput) ([]byte, error) { return k.Sign(in.Alg, in.Value) })
}

func (c *call) verify() (answer, error) {
	var in useInput
	if err := c.decode(&in); err != nil {
		return answer{}, err
	}
	_, v, err := c.keyFor(vault.Verify, true)
	if err != nil {
		return answer{}, err
	}
	good, err := v.Key.Verify(in.Alg, in.Digest, in.Value)
	if err != nil {
		return answer{}, err
	}
	return ok(struct {
		Value bool `json:"value"`
	}{good})
}
