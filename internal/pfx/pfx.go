// Package pfx reads and writes PKCS #12 files (RFC 7292) with one private key and
// its certificates.
//
// It is for a server that gets such files from others: the work that a file may
// ask for is bounded before any of it is done, which libraries for programs that
// open their own files leave out. What it reads is what today's tools write: DER,
// encrypted with AES or triple DES. RC2 with 40 bits, which older ones use for
// certificates, is refused by name.
package pfx

import (
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
)

// Errors that callers branch on. Test for them with errors.Is.
var (
	// ErrInvalid is wrapped by every error about a file.
	ErrInvalid = errors.New("not a PKCS #12 file that can be read")
	// ErrPassword says that the password is another one, or the file was changed.
	ErrPassword = errors.New("the password is not that of the PKCS #12 file")
)

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrInvalid}, args...)...)
}

// Contents are what is in a file.
type Contents struct {
	Key crypto.PrivateKey
	// Certificates begin with that of the key; the others are in no order.
	Certificates []*x509.Certificate
}

// Bounds of a file that is read.
const (
	MaxSize = 64 << 10 // bytes
	// maxWork is how many rounds of hashing all passwords of a file may cost
	// together: some times what careful tools ask for, and about a second.
	maxWork = 2_000_000
	maxBags = 64
)

// Object identifiers of RFC 7292 and its relatives.
var (
	oidData          = oid(1, 2, 840, 113549, 1, 7, 1)
	oidEncryptedData = oid(1, 2, 840, 113549, 1, 7, 6)
	oidKeyBag        = oid(1, 2, 840, 113549, 1, 12, 10, 1, 1)
	oidShroudedBag   = oid(1, 2, 840, 113549, 1, 12, 10, 1, 2)
	oidCertBag       = oid(1, 2, 840, 113549, 1, 12, 10, 1, 3)
	oidX509          = oid(1, 2, 840, 113549, 1, 9, 22, 1)
	oidLocalKeyID    = oid(1, 2, 840, 113549, 1, 9, 21)
)

func oid(arcs ...int) asn1.ObjectIdentifier { return arcs }

type file struct {
	Version  int
	AuthSafe contentInfo
	Mac      macData `asn1:"optional"`
}

type contentInfo struct {
	Type    asn1.ObjectIdentifier
	Content asn1.RawValue `asn1:"tag:0,explicit,optional"`
}

type macData struct {
	Mac struct {
		Algorithm pkix.AlgorithmIdentifier
		Digest    []byte
	}
	Salt       []byte
	Iterations int `asn1:"optional,default:1"`
}

type encryptedData struct {
	Version int
	Info    struct {
		Type      asn1.ObjectIdentifier
		Algorithm pkix.AlgorithmIdentifier
		Sealed    []byte `asn1:"tag:0,optional"`
	}
}

type safeBag struct {
	ID         asn1.ObjectIdentifier
	Value      asn1.RawValue `asn1:"tag:0,explicit"`
	Attributes []attribute   `asn1:"set,optional"`
}

type attribute struct {
	ID    asn1.ObjectIdentifier
	Value asn1.RawValue `asn1:"set"`
}

type certBag struct {
	ID   asn1.ObjectIdentifier
	Data []byte `asn1:"tag:0,explicit"`
}

type encryptedKey struct {
	Algorithm pkix.AlgorithmIdentifier
	Sealed    []byte
}

// unmarshal reads exactly one value.
func unmarshal(der []byte, into any) error {
	rest, err := asn1.Unmarshal(der, into)
	if err != nil {
		return invalid("%w", err)
	}
	if len(rest) != 0 {
		return invalid("%d bytes behind its end", len(rest))
	}
	return nil
}
