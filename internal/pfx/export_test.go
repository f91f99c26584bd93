package pfx

import (
	"crypto"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/x509/pkix"
	"encoding/asn1"
)

// Bomb returns a file without a password that asks for so many rounds of hashing,
// for its integrity, for a key in the open, or for a key behind an encryption that
// is cheap.
func Bomb(where string, rounds int) []byte {
	secret, _ := bmp("")
	w := &writer{password: secret}
	costly := encryptedKey{Sealed: make([]byte, 8)}
	costly.Algorithm = pkix.AlgorithmIdentifier{Algorithm: oidTripleDES, Parameters: asn1.RawValue{FullBytes: w.der(pbeParams{w.salt(), rounds})}}
	bags := w.der([]safeBag{{ID: oidShroudedBag, Value: w.explicit(w.der(costly))}})
	info := contentInfo{oidData, w.explicit(w.der(bags))}
	if where == "hidden key" {
		var hidden encryptedData
		hidden.Info.Type = oidData
		hidden.Info.Algorithm, hidden.Info.Sealed = w.encrypt(bags)
		info = contentInfo{oidEncryptedData, w.explicit(w.der(hidden))}
	}
	safe := w.der([]contentInfo{info})
	f := file{Version: 3, AuthSafe: contentInfo{oidData, w.explicit(w.der(safe))}}
	f.Mac.Salt, f.Mac.Iterations = w.salt(), 1
	f.Mac.Mac.Algorithm = pkix.AlgorithmIdentifier{Algorithm: oidSHA1, Parameters: null}
	h := hmac.New(sha1.New, derive(crypto.SHA1, forMac, secret, f.Mac.Salt, 1, sha1.Size))
	h.Write(safe)
	f.Mac.Mac.Digest = h.Sum(nil)
	if where == "integrity" {
		f.Mac.Iterations = rounds
	}
	return w.der(f)
}
