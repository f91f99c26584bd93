package pfx

import (
	"bytes"
	"crypto"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
)

// rounds are what a file that is written here asks of its reader.
const rounds = 2048

// Encode writes a key and its certificates, that of the key first, in the form
// that every reader knows: triple DES and SHA-1. It protects nothing without a
// password, and little with one: what it is for is to be read.
func Encode(c Contents, password string) ([]byte, error) {
	secret, err := bmp(password)
	if err != nil {
		return nil, err
	}
	if len(c.Certificates) == 0 {
		return nil, invalid("no certificate to write")
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(c.Key)
	if err != nil {
		return nil, err
	}
	w := &writer{password: secret}
	id := sha1.Sum(c.Certificates[0].Raw)
	mark := []attribute{{oidLocalKeyID, w.raw(asn1.TagSet, true, w.der(id[:]))}}
	var certs []safeBag
	for i, cert := range c.Certificates {
		bag := safeBag{ID: oidCertBag, Value: w.explicit(w.der(certBag{oidX509, cert.Raw}))}
		if i == 0 {
			bag.Attributes = mark
		}
		certs = append(certs, bag)
	}
	var key encryptedKey
	key.Algorithm, key.Sealed = w.encrypt(pkcs8)
	var hidden encryptedData
	hidden.Info.Type = oidData
	hidden.Info.Algorithm, hidden.Info.Sealed = w.encrypt(w.der(certs))
	keys := w.der([]safeBag{{ID: oidShroudedBag, Value: w.explicit(w.der(key)), Attributes: mark}})
	safe := w.der([]contentInfo{
		{oidEncryptedData, w.explicit(w.der(hidden))},
		{oidData, w.explicit(w.der(keys))},
	})
	f := file{Version: 3, AuthSafe: contentInfo{oidData, w.explicit(w.der(safe))}}
	f.Mac.Salt, f.Mac.Iterations = w.salt(), rounds
	f.Mac.Mac.Algorithm = pkix.AlgorithmIdentifier{Algorithm: oidSHA1, Parameters: null}
	h := hmac.New(sha1.New, derive(crypto.SHA1, forMac, secret, f.Mac.Salt, rounds, sha1.Size))
	h.Write(safe)
	f.Mac.Mac.Digest = h.Sum(nil)
	return w.der(f), w.err
}

// A writer encodes, and remembers the first error.
type writer struct {
	password []byte
	err      error
}

func (w *writer) der(v any) []byte {
	b, err := asn1.Marshal(v)
	if w.err == nil {
		w.err = err
	}
	return b
}

func (w *writer) raw(tag int, compound bool, b []byte) asn1.RawValue {
	return asn1.RawValue{Tag: tag, IsCompound: compound, Bytes: b}
}

// explicit is the value of a field with the tag 0.
func (w *writer) explicit(b []byte) asn1.RawValue {
	return asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: b}
}

func (w *writer) salt() []byte {
	b := make([]byte, 8)
	rand.Read(b) // never fails
	return b
}

func (w *writer) encrypt(plain []byte) (pkix.AlgorithmIdentifier, []byte) {
	p := pbeParams{w.salt(), rounds}
	block, iv, err := tripleDES(w.password, p)
	if err != nil {
		w.err = err
		return pkix.AlgorithmIdentifier{}, nil
	}
	n := block.BlockSize() - len(plain)%block.BlockSize()
	padded := append(bytes.Clone(plain), bytes.Repeat([]byte{byte(n)}, n)...)
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(padded, padded)
	return pkix.AlgorithmIdentifier{Algorithm: oidTripleDES, Parameters: asn1.RawValue{FullBytes: w.der(p)}}, padded
}
