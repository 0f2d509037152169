package export

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/taskwatch/taskwatch/sink/otlp"
)

// authority signs certificates for a test.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir()}
	a.cert, a.key = a.sign(t, name, &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

// sign makes a key and its certificate, and writes both: NAME.pem, NAME.key.
func (a *authority) sign(t *testing.T, name string, cert *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert.SerialNumber = big.NewInt(time.Now().UnixNano())
	cert.Subject = pkix.Name{CommonName: name}
	cert.NotBefore, cert.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = cert, key
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{name + ".pem": {Type: "CERTIFICATE", Bytes: der}, name + ".key": {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(a.file(file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return made, key
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

// Spans go to a collector by TLS, to one that OTEL_EXPORTER_OTLP_CERTIFICATE
// vouches for and to no other, with the client's own certificate where the
// collector wants one.
func TestOTLPTLS(t *testing.T) {
	ca, other := newAuthority(t, "ca"), newAuthority(t, "other")
	ca.sign(t, "server", &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	for _, a := range []*authority{ca, other} {
		a.sign(t, "client", &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	}
	pair, err := tls.LoadX509KeyPair(ca.file("server.pem"), ca.file("server.key"))
	if err != nil {
		t.Fatal(err)
	}
	clients := x509.NewCertPool()
	clients.AddCert(ca.cert)
	tr := truthOf(t)
	for _, protocol := range []string{"http/protobuf", "grpc"} {
		for _, c := range []struct {
			name string
			env  map[string]string
			ok   bool
		}{
			{"both vouched for", map[string]string{"CERTIFICATE": ca.file("ca.pem"), "CLIENT_CERTIFICATE": ca.file("client.pem"), "CLIENT_KEY": ca.file("client.key")}, true},
			{"an unknown collector", map[string]string{"CERTIFICATE": other.file("other.pem"), "CLIENT_CERTIFICATE": ca.file("client.pem"), "CLIENT_KEY": ca.file("client.key")}, false},
			{"no certificate of the client's", map[string]string{"CERTIFICATE": ca.file("ca.pem")}, false},
			{"an unknown client", map[string]string{"CERTIFICATE": ca.file("ca.pem"), "CLIENT_CERTIFICATE": other.file("client.pem"), "CLIENT_KEY": other.file("client.key")}, false},
		} {
			t.Run(protocol+" "+c.name, func(t *testing.T) {
				want := &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients}
				got := &collector{requests: 1}
				timeout := "10000"
				if !c.ok {
					timeout = "300" // what is rejected is tried again for so long
				}
				env := map[string]string{
					"OTEL_EXPORTER_OTLP_ENDPOINT": serveTLS(t, got, protocol, want), "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
					"OTEL_EXPORTER_OTLP_TIMEOUT": timeout, "TRACEPARENT": traceparent,
				}
				for name, value := range c.env {
					env["OTEL_EXPORTER_OTLP_"+name] = value
				}
				cfg := config(t, env)
				sink := otlp.New(cfg, otlp.NewSender(cfg))
				err := exportError(t, sink)
				if (err == nil) != c.ok || err != nil && !strings.Contains(err.Error(), "OTEL_EXPORTER_OTLP_ENDPOINT") {
					t.Fatalf("error %v", err)
				}
				if c.ok {
					checkSpans(t, tr, got.spans)
				} else if got.spans != nil {
					t.Errorf("%d spans came", len(got.spans))
				}
			})
		}
	}
}

func serveTLS(t *testing.T, c *collector, protocol string, config *tls.Config) (endpoint string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if protocol == "grpc" {
		server := grpc.NewServer(grpc.Creds(credentials.NewTLS(config)))
		collectorpb.RegisterTraceServiceServer(server, c)
		go func() { _ = server.Serve(l) }()
		t.Cleanup(server.Stop)
	} else {
		server := &http.Server{Handler: c, TLSConfig: config, ErrorLog: log.New(io.Discard, "", 0)}
		go func() { _ = server.ServeTLS(l, "", "") }()
		t.Cleanup(func() { _ = server.Close() })
	}
	return "https://" + l.Addr().String()
}
