package pki

import (
	"crypto/tls"
	"crypto/x509"
)

// ServerTLS returns the settings of a listener whose clients show no certificate:
// TLS 1.2 or later, HTTP/2 or HTTP/1.1, the cipher suites that crypto/tls prefers.
func ServerTLS(pair Pair) (*tls.Config, error) {
	cert, err := pair.TLS()
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		Certificates: []tls.Certificate{cert},
		MinVersion:   tls.VersionTLS12,
		NextProtos:   []string{"h2", "http/1.1"},
	}, nil
}

// MutualTLS returns the settings of a listener that talks only to clients with a
// certificate of clientCAs. Session tickets are off: a resumed session would skip
// the check of the certificate after its authority was removed. A nil pool is
// refused, because crypto/tls would take it for the system's authorities.
func MutualTLS(pair Pair, clientCAs *x509.CertPool) (*tls.Config, error) {
	if clientCAs == nil {
		return nil, invalid("no authorities for client certificates")
	}
	conf, err := ServerTLS(pair)
	if err != nil {
		return nil, err
	}
	conf.ClientAuth = tls.RequireAndVerifyClientCert
	conf.ClientCAs = clientCAs
	conf.SessionTicketsDisabled = true
	return conf, nil
}
