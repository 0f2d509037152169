package hub

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/fleet"
)

const (
	caKeyFile  = "ca.key"
	caCertFile = "ca.pem"
	othersFile = "nats-ca.pem"
	caLife     = 20 * 365 * 24 * time.Hour
)

// authority signs the certificate of the hub. Clients know its own from their
// tokens.
type authority struct {
	key    *ecdsa.PrivateKey
	cert   *x509.Certificate
	others *x509.Certificate // that of the NATS servers of others, if those are used
}

// root returns the certificate that clients are to know.
func (a *authority) root() *x509.Certificate {
	if a.others != nil {
		return a.others
	}
	return a.cert
}

// useOthers has the certificate of other servers in tokens. Without a
// file, it is the one that was used before.
func (a *authority) useOthers(file string) error {
	if file == "" {
		if a.others == nil {
			return errors.New("the certificate of the NATS servers is not known; give the file of the one that theirs are signed with, once (--nats-ca FILE)")
		}
		return nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	a.others, err = parseRoot(file, text)
	return err
}

// keepOthers has useOthers know the certificate from now on.
func (a *authority) keepOthers(dir string) error {
	return fleet.SaveFile(filepath.Join(dir, othersFile), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.others.Raw}))
}

// forgetOthers has the hub's own certificate in tokens from now on.
func (a *authority) forgetOthers(dir string) error {
	a.others = nil
	if err := os.Remove(filepath.Join(dir, othersFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// parseRoot reads a file that has one certificate.
func parseRoot(name string, text []byte) (*x509.Certificate, error) {
	block, rest := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, fmt.Errorf("%s has no certificate (PEM)", name)
	}
	if more, _ := pem.Decode(rest); more != nil {
		return nil, fmt.Errorf("%s has several certificates; give the one that those of the servers are signed with", name)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return cert, nil
}

// openAuthority reads the authority of a directory, or makes one. Others may do so
// at the same time: a hub that is started, and whoever makes the first token.
func openAuthority(dir string) (*authority, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close() // and unlock it
	if err := unix.Flock(int(d.Fd()), unix.LOCK_EX); err != nil {
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	a, err := openOwn(dir)
	if err != nil {
		return nil, err
	}
	name := filepath.Join(dir, othersFile)
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return a, nil
	}
	if err == nil {
		a.others, err = parseRoot(name, text)
	}
	return a, err
}

func openOwn(dir string) (*authority, error) {
	keyText, err := os.ReadFile(filepath.Join(dir, caKeyFile))
	if errors.Is(err, fs.ErrNotExist) {
		return makeAuthority(dir)
	}
	if err != nil {
		return nil, err
	}
	certText, err := os.ReadFile(filepath.Join(dir, caCertFile))
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(certText, keyText)
	if err != nil {
		return nil, fmt.Errorf("%s and %s in %s: %w", caKeyFile, caCertFile, dir, err)
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s in %s is not the key of a hub", caKeyFile, dir)
	}
	return &authority{key: key, cert: pair.Leaf}, nil
}

func makeAuthority(dir string) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "taskwatch hub authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(caLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	// The key last: a directory that has it is complete.
	for _, f := range []struct {
		name, kind string
		der        []byte
	}{{caCertFile, "CERTIFICATE", der}, {caKeyFile, "PRIVATE KEY", keyDER}} {
		if err := fleet.SaveFile(filepath.Join(dir, f.name), pem.EncodeToMemory(&pem.Block{Type: f.kind, Bytes: f.der})); err != nil {
			return nil, err
		}
	}
	return &authority{key: key, cert: cert}, nil
}

func serial() *big.Int {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		panic(err) // the system has no random numbers
	}
	return n
}

// server returns the configuration of a server with these names and addresses.
// Its key is made anew, and nowhere kept.
func (a *authority) server(hosts []string) (*tls.Config, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "taskwatch hub"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: a.cert.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else if h != "" {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{{Certificate: [][]byte{der, a.cert.Raw}, PrivateKey: key}},
	}, nil
}
