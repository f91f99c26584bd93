package pfx

import (
	"crypto"
	"crypto/hmac"
	"crypto/x509"
	"slices"
)

// Decode reads a file that is protected by a password, which may be empty. The
// key must be that of one of the certificates.
func Decode(der []byte, password string) (Contents, error) {
	if len(der) > MaxSize {
		return Contents{}, invalid("it has %d bytes, at most %d", len(der), MaxSize)
	}
	var f file
	if err := unmarshal(der, &f); err != nil {
		return Contents{}, err
	}
	if f.Version != 3 || !f.AuthSafe.Type.Equal(oidData) {
		return Contents{}, invalid("it is of version %d and not protected by a password", f.Version)
	}
	var safe []byte
	if err := unmarshal(f.AuthSafe.Content.Bytes, &safe); err != nil {
		return Contents{}, err
	}
	r := &reader{work: maxWork}
	if err := r.unlock(f.Mac, safe, password); err != nil {
		return Contents{}, err
	}
	var infos []contentInfo
	if err := unmarshal(safe, &infos); err != nil {
		return Contents{}, err
	}
	for _, info := range infos {
		if err := r.content(info); err != nil {
			return Contents{}, err
		}
	}
	return r.pair()
}

// A reader collects what is in a file. Work is what it may still cost.
type reader struct {
	password []byte // as PKCS #12 derives keys from it
	text     []byte // as PBES2 does
	work     int
	bags     int
	keys     []crypto.PrivateKey
	certs    []*x509.Certificate
}

// spend takes rounds of hashing from what the file may cost.
func (r *reader) spend(rounds int) error {
	if rounds < 1 || rounds > r.work {
		return invalid("its password takes more than %d rounds of hashing", maxWork)
	}
	r.work -= rounds
	return nil
}

// unlock finds out whether the password is right. Nobody agrees on what an empty
// password is in PKCS #12: none at all, or the end of a text.
func (r *reader) unlock(m macData, safe []byte, password string) error {
	r.text = []byte(password)
	var err error
	if r.password, err = bmp(password); err != nil {
		return err
	}
	if len(m.Mac.Digest) == 0 {
		if password == "" {
			return nil // nothing to check it with, and nothing that it protects
		}
		return invalid("it has a password, but nothing to check it with")
	}
	hash, ok := macs[m.Mac.Algorithm.Algorithm.String()]
	if !ok {
		return invalid("its integrity is protected by the algorithm %s, which is not known here", m.Mac.Algorithm.Algorithm)
	}
	for _, try := range [][]byte{r.password, nil} {
		if try == nil && password != "" {
			break
		}
		if err := r.spend(m.Iterations); err != nil {
			return err
		}
		h := hmac.New(hash.New, derive(hash, forMac, try, m.Salt, m.Iterations, hash.Size()))
		h.Write(safe)
		if hmac.Equal(h.Sum(nil), m.Mac.Digest) {
			r.password = try
			return nil
		}
	}
	return ErrPassword
}

func (r *reader) content(info contentInfo) error {
	var plain []byte
	switch {
	case info.Type.Equal(oidData):
		if err := unmarshal(info.Content.Bytes, &plain); err != nil {
			return err
		}
	case info.Type.Equal(oidEncryptedData):
		var e encryptedData
		if err := unmarshal(info.Content.Bytes, &e); err != nil {
			return err
		}
		var err error
		if plain, err = r.decrypt(e.Info.Algorithm, e.Info.Sealed); err != nil {
			return err
		}
	default:
		return invalid("it has contents of the type %s", info.Type)
	}
	var bags []safeBag
	if err := unmarshal(plain, &bags); err != nil {
		return err
	}
	for _, b := range bags {
		if r.bags++; r.bags > maxBags {
			return invalid("it holds more than %d things", maxBags)
		}
		if err := r.bag(b); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) bag(b safeBag) error {
	der := b.Value.Bytes
	switch {
	case b.ID.Equal(oidCertBag):
		var c certBag
		if err := unmarshal(der, &c); err != nil {
			return err
		}
		if !c.ID.Equal(oidX509) {
			return invalid("it has a certificate of the type %s", c.ID)
		}
		cert, err := x509.ParseCertificate(c.Data)
		if err != nil {
			return invalid("certificate: %w", err)
		}
		r.certs = append(r.certs, cert)
		return nil
	case b.ID.Equal(oidShroudedBag):
		var k encryptedKey
		if err := unmarshal(der, &k); err != nil {
			return err
		}
		var err error
		if der, err = r.decrypt(k.Algorithm, k.Sealed); err != nil {
			return err
		}
	case !b.ID.Equal(oidKeyBag):
		return nil // revocation lists and the like
	}
	if len(der) > maxKey {
		return invalid("its private key has %d bytes, at most %d", len(der), maxKey)
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return invalid("its private key cannot be read") // the cause might quote it
	}
	r.keys = append(r.keys, key)
	return nil
}

// maxKey is how long a private key is at most, in bytes: of RSA with 4,096 bits
// it has 2,400. Checking numbers without end would take time without end.
const maxKey = 4 << 10

// pair finds the certificate that belongs to the key.
func (r *reader) pair() (Contents, error) {
	if len(r.keys) != 1 || len(r.certs) == 0 {
		return Contents{}, invalid("it has %d private keys and %d certificates, want one key and its certificate", len(r.keys), len(r.certs))
	}
	key, ok := r.keys[0].(crypto.Signer)
	if !ok {
		return Contents{}, invalid("its private key is of the type %T", r.keys[0])
	}
	pub, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	at := slices.IndexFunc(r.certs, func(c *x509.Certificate) bool { return ok && pub.Equal(c.PublicKey) })
	if at < 0 {
		return Contents{}, invalid("no certificate in it belongs to its private key")
	}
	leaf := r.certs[at]
	return Contents{Key: key, Certificates: append([]*x509.Certificate{leaf}, slices.Delete(r.certs, at, at+1)...)}, nil
}
