package node

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"time"
)

// issuer signs the certificates with which the components of the cluster authenticate.
type issuer struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// certify creates a certificate authority, the keys and certificates of all components, and the administrator's HTTP
// client. It returns the names of the certificates that are for users of the API.
func (n *Node) certify() (users []string, err error) {
	authority, err := n.issue("ca", nil, x509.Certificate{
		Subject: pkix.Name{CommonName: n.network.name()},
		IsCA:    true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	})
	if err != nil {
		return nil, err
	}
	// Only the key pair is used. It signs and verifies the tokens of service accounts.
	if _, err := n.issue("accounts", authority, x509.Certificate{}); err != nil {
		return nil, err
	}
	_, err = n.issue("node", authority, x509.Certificate{
		Subject:     pkix.Name{CommonName: "node"},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses: []net.IP{net.ParseIP(n.network.address()), net.ParseIP(n.network.firstService())},
		DNSNames: []string{
			"node", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
		},
	})
	if err != nil {
		return nil, err
	}
	var admin *issuer
	for _, u := range []struct {
		file, name string
		groups     []string
	}{
		{"kubelet", "system:node:node", []string{"system:nodes"}},
		{"kube-controller-manager", "system:kube-controller-manager", nil},
		{"kube-scheduler", "system:kube-scheduler", nil},
		{"kube-proxy", "system:kube-proxy", nil},
		{"coredns", "coredns", nil},
		{"admin", "admin", []string{"system:masters"}},
	} {
		admin, err = n.issue(u.file, authority, x509.Certificate{
			Subject:     pkix.Name{CommonName: u.name, Organization: u.groups},
			KeyUsage:    x509.KeyUsageDigitalSignature,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		})
		if err != nil {
			return nil, err
		}
		users = append(users, u.file)
	}
	roots := x509.NewCertPool()
	roots.AddCert(authority.certificate)
	n.admin = &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{
		MinVersion: tls.VersionTLS13, RootCAs: roots,
		Certificates: []tls.Certificate{{Certificate: [][]byte{admin.certificate.Raw}, PrivateKey: admin.key}},
	}}}
	return users, nil
}

// issue creates a key and a certificate that the authority signs. Without an authority, the certificate is self-signed.
func (n *Node) issue(file string, by *issuer, c x509.Certificate) (*issuer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generate the key of %s: %w", file, err)
	}
	c.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, fmt.Errorf("generate the serial number of %s: %w", file, err)
	}
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Minute), time.Now().AddDate(0, 0, 1)
	if by == nil {
		by = &issuer{&c, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, &c, by.certificate, key.Public(), by.key)
	if err != nil {
		return nil, fmt.Errorf("create the certificate of %s: %w", file, err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode the key of %s: %w", file, err)
	}
	for name, block := range map[string]*pem.Block{
		file + ".crt": {Type: "CERTIFICATE", Bytes: der},
		file + ".key": {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(n.etc(name), pem.EncodeToMemory(block), 0o600); err != nil {
			return nil, fmt.Errorf("write %s: %w", name, err)
		}
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("parse the certificate of %s: %w", file, err)
	}
	return &issuer{certificate, key}, nil
}
