package pfx

import (
	"bytes"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/pbkdf2"
	_ "crypto/sha1"
	_ "crypto/sha256"
	_ "crypto/sha512"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"unicode/utf16"
	"unicode/utf8"
)

// macs are the hashes that protect the integrity of a file.
var macs = map[string]crypto.Hash{
	"1.3.14.3.2.26":          crypto.SHA1,
	"2.16.840.1.101.3.4.2.1": crypto.SHA256,
	"2.16.840.1.101.3.4.2.2": crypto.SHA384,
	"2.16.840.1.101.3.4.2.3": crypto.SHA512,
}

var (
	oidSHA1      = oid(1, 3, 14, 3, 2, 26)
	oidTripleDES = oid(1, 2, 840, 113549, 1, 12, 1, 3) // pbeWithSHAAnd3-KeyTripleDES-CBC
	oidRC2       = oid(1, 2, 840, 113549, 1, 12, 1, 6) // pbewithSHAAnd40BitRC2-CBC
	oidPBES2     = oid(1, 2, 840, 113549, 1, 5, 13)
	oidPBKDF2    = oid(1, 2, 840, 113549, 1, 5, 12)
	prfs         = map[string]crypto.Hash{"1.2.840.113549.2.7": crypto.SHA1, "1.2.840.113549.2.9": crypto.SHA256, "1.2.840.113549.2.10": crypto.SHA384, "1.2.840.113549.2.11": crypto.SHA512}
	aesKeys      = map[string]int{"2.16.840.1.101.3.4.1.2": 16, "2.16.840.1.101.3.4.1.22": 24, "2.16.840.1.101.3.4.1.42": 32}
)

type pbeParams struct {
	Salt       []byte
	Iterations int
}

type pbes2Params struct {
	KDF    pkix.AlgorithmIdentifier
	Scheme pkix.AlgorithmIdentifier
}

type pbkdf2Params struct {
	Salt       []byte
	Iterations int
	KeyLength  int                      `asn1:"optional"`
	PRF        pkix.AlgorithmIdentifier `asn1:"optional"`
}

// decrypt undoes one encryption with the password.
func (r *reader) decrypt(alg pkix.AlgorithmIdentifier, sealed []byte) ([]byte, error) {
	var block cipher.Block
	var iv []byte
	var err error
	switch {
	case alg.Algorithm.Equal(oidTripleDES):
		var p pbeParams
		if err := unmarshal(alg.Parameters.FullBytes, &p); err != nil {
			return nil, err
		}
		if err := r.spend(p.Iterations); err != nil {
			return nil, err
		}
		if err := r.spend(p.Iterations); err != nil {
			return nil, err
		}
		block, iv, err = tripleDES(r.password, p)
	case alg.Algorithm.Equal(oidPBES2):
		block, iv, err = r.pbes2(alg)
	case alg.Algorithm.Equal(oidRC2):
		return nil, invalid("it is encrypted with RC2 of 40 bits, which protects nothing: write it anew with AES, as openssl pkcs12 -export does since version 3")
	default:
		return nil, invalid("it is encrypted with the algorithm %s, which is not known here", alg.Algorithm)
	}
	if err != nil {
		return nil, err
	}
	if len(sealed) == 0 || len(sealed)%block.BlockSize() != 0 || len(iv) != block.BlockSize() {
		return nil, invalid("what is encrypted in it has an odd length")
	}
	plain := make([]byte, len(sealed))
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(plain, sealed)
	// The padding says how long it is. Its integrity was checked before.
	n := int(plain[len(plain)-1])
	if n == 0 || n > block.BlockSize() || !bytes.HasSuffix(plain, bytes.Repeat([]byte{byte(n)}, n)) {
		return nil, ErrPassword
	}
	return plain[:len(plain)-n], nil
}

func tripleDES(password []byte, p pbeParams) (cipher.Block, []byte, error) {
	block, err := des.NewTripleDESCipher(derive(crypto.SHA1, forKey, password, p.Salt, p.Iterations, 24))
	return block, derive(crypto.SHA1, forIV, password, p.Salt, p.Iterations, des.BlockSize), err
}

// pbes2 reads the parameters of RFC 8018, section 6.2.
func (r *reader) pbes2(alg pkix.AlgorithmIdentifier) (cipher.Block, []byte, error) {
	var p pbes2Params
	var k pbkdf2Params
	var iv []byte
	if err := unmarshal(alg.Parameters.FullBytes, &p); err != nil {
		return nil, nil, err
	}
	size, ok := aesKeys[p.Scheme.Algorithm.String()]
	if !p.KDF.Algorithm.Equal(oidPBKDF2) || !ok {
		return nil, nil, invalid("it is encrypted with %s and a key by %s, which are not known here", p.Scheme.Algorithm, p.KDF.Algorithm)
	}
	if err := unmarshal(p.KDF.Parameters.FullBytes, &k); err != nil {
		return nil, nil, err
	}
	if err := unmarshal(p.Scheme.Parameters.FullBytes, &iv); err != nil {
		return nil, nil, err
	}
	prf := crypto.SHA1 // the default of RFC 8018, appendix A.2
	if k.PRF.Algorithm != nil {
		if prf, ok = prfs[k.PRF.Algorithm.String()]; !ok {
			return nil, nil, invalid("its key is derived with %s, which is not known here", k.PRF.Algorithm)
		}
	}
	// A key longer than the hash takes all rounds again.
	blocks := (size + prf.Size() - 1) / prf.Size()
	for range blocks {
		if err := r.spend(k.Iterations); err != nil {
			return nil, nil, err
		}
	}
	key, err := pbkdf2.Key(prf.New, string(r.text), k.Salt, k.Iterations, size)
	if err != nil {
		return nil, nil, invalid("%w", err)
	}
	block, err := aes.NewCipher(key)
	return block, iv, err
}

// What a key is derived for (RFC 7292, appendix B.3).
const (
	forKey byte = 1
	forIV  byte = 2
	forMac byte = 3
)

// derive makes size bytes of a password (RFC 7292, appendix B.2).
func derive(hash crypto.Hash, purpose byte, password, salt []byte, iterations, size int) []byte {
	h := hash.New()
	v := h.BlockSize()
	fill := func(b []byte) []byte {
		if len(b) == 0 {
			return nil
		}
		n := (len(b) + v - 1) / v * v
		return bytes.Repeat(b, n/len(b)+1)[:n]
	}
	d := bytes.Repeat([]byte{purpose}, v)
	in := append(fill(salt), fill(password)...)
	one, mod := big.NewInt(1), new(big.Int).Lsh(big.NewInt(1), uint(8*v))
	var out []byte
	for {
		h.Reset()
		h.Write(d)
		h.Write(in)
		a := h.Sum(nil)
		for range iterations - 1 {
			h.Reset()
			h.Write(a)
			a = h.Sum(a[:0])
		}
		if out = append(out, a...); len(out) >= size {
			return out[:size]
		}
		b := new(big.Int).SetBytes(fill(a)[:v])
		b.Add(b, one)
		for at := 0; at < len(in); at += v {
			n := new(big.Int).SetBytes(in[at : at+v])
			n.Mod(n.Add(n, b), mod).FillBytes(in[at : at+v])
		}
	}
}

// bmp writes a password as PKCS #12 wants it: UTF-16 with an end.
func bmp(s string) ([]byte, error) {
	if !utf8.ValidString(s) {
		return nil, invalid("the password is not UTF-8")
	}
	var out []byte
	for _, u := range utf16.Encode([]rune(s)) {
		out = append(out, byte(u>>8), byte(u))
	}
	return append(out, 0, 0), nil
}

var null = asn1.RawValue{Tag: asn1.TagNull}
