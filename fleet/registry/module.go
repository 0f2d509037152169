package registry

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"

	"github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"
	"oras.land/oras-go/v2/registry/remote/errcode"
	"oras.land/oras-go/v2/registry/remote/retry"

	"github.com/taskwatch/taskwatch/fleet"
	"github.com/taskwatch/taskwatch/module"
)

// The media types of a module in a registry.
const (
	ArtifactType  = "application/vnd.taskwatch.module.v1"
	FileType      = "application/vnd.taskwatch.module.file.v1"      // an object for the kernel or for the sandbox
	SignatureType = "application/vnd.taskwatch.module.signature.v1" // of the file, by minisign
)

// Module is a module as it is in a registry.
type Module struct {
	FileName  string // without a directory
	File      []byte
	Signature []byte // or nil
}

// Registry is how registries are spoken to. The zero value uses HTTPS, and the
// credentials that 'docker login' or 'podman login' keeps for docker.
type Registry struct {
	PlainHTTP bool
}

// repository is one in a registry.
type repository struct {
	*remote.Repository
	unread error // why the credentials could not be read, or nil
}

// open returns the repository of a reference.
func (r Registry) open(ref string) (*repository, error) {
	repo, err := remote.NewRepository(ref)
	if err != nil {
		return nil, fmt.Errorf("%q is not a module in a registry; it looks like REGISTRY/NAME:TAG: %w", ref, err)
	}
	if repo.Reference.Reference == "" {
		return nil, fmt.Errorf("%q has no tag; it looks like REGISTRY/NAME:TAG", ref)
	}
	repo.PlainHTTP = r.PlainHTTP
	client := &auth.Client{Client: retry.DefaultClient, Header: http.Header{"User-Agent": {"taskwatch"}}, Cache: auth.NewCache()}
	// Most registries need none to read, so it matters only where they are wanted.
	store, unread := credentials.NewStoreFromDocker(credentials.StoreOptions{})
	if unread == nil {
		client.Credential = credentials.Credential(store)
	}
	repo.Client = client
	return &repository{repo, unread}, nil
}

// explain returns an error of a request with what may help, where that is known.
func (r *repository) explain(err error) error {
	host := r.Reference.Registry
	var resp *errcode.ErrorResponse
	var unknown x509.UnknownAuthorityError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &unknown):
		return fmt.Errorf("%w; the variable SSL_CERT_FILE names a file with the certificate (PEM) that the one of %s is signed with", err, host)
	case !r.PlainHTTP && strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return fmt.Errorf("%w; --plain-http is for a registry without TLS", err)
	case errors.Is(err, errdef.ErrNotFound):
		return fmt.Errorf("%w; %s has no such module, which 'taskwatch module push' would put there", err, host)
	case errors.Is(err, auth.ErrBasicCredentialNotFound):
	case errors.As(err, &resp) && (resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden):
	default:
		return err
	}
	if r.unread != nil {
		return fmt.Errorf("%w; the credentials are not known: %w", err, r.unread)
	}
	return fmt.Errorf("%w; 'docker login %s' writes credentials to config.json in the directory that the variable DOCKER_CONFIG names, else in .docker of the user", err, host)
}

// Push puts a module into a registry, and returns its reference by digest.
func (r Registry) Push(ctx context.Context, ref string, m *Module) (string, error) {
	repo, err := r.open(ref)
	if err != nil {
		return "", err
	}
	if err := m.check(); err != nil {
		return "", fmt.Errorf("module %s: %w", m.FileName, err)
	}
	layers := []part{newPart(FileType, m.FileName, m.File)}
	if m.Signature != nil {
		layers = append(layers, newPart(SignatureType, m.FileName+".minisig", m.Signature))
	}
	manifest, err := push(ctx, repo.Repository, layers)
	if err != nil {
		return "", fmt.Errorf("push %s: %w", ref, repo.explain(err))
	}
	return repo.Reference.Registry + "/" + repo.Reference.Repository + "@" + manifest.Digest.String(), nil
}

// part is a part of a module with its description.
type part struct {
	v1.Descriptor
	bytes []byte
}

func newPart(mediaType, name string, b []byte) part {
	d := content.NewDescriptorFromBytes(mediaType, b)
	d.Annotations = map[string]string{v1.AnnotationTitle: name}
	return part{d, b}
}

// push puts the parts of a module into a registry, and then what names them all.
func push(ctx context.Context, repo *remote.Repository, layers []part) (v1.Descriptor, error) {
	manifest := v1.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest, ArtifactType: ArtifactType,
		Config: v1.DescriptorEmptyJSON,
		// The time is left out: the same module has the same digest.
		Annotations: map[string]string{v1.AnnotationCreated: "1970-01-01T00:00:00Z"},
	}
	for _, p := range append(layers, part{v1.DescriptorEmptyJSON, v1.DescriptorEmptyJSON.Data}) {
		there, err := repo.Blobs().Exists(ctx, p.Descriptor)
		if err == nil && !there {
			err = repo.Blobs().Push(ctx, p.Descriptor, bytes.NewReader(p.bytes))
		}
		if err != nil {
			return v1.Descriptor{}, err
		}
	}
	for _, p := range layers {
		manifest.Layers = append(manifest.Layers, p.Descriptor)
	}
	text, err := json.Marshal(manifest)
	if err != nil {
		return v1.Descriptor{}, err
	}
	d := content.NewDescriptorFromBytes(manifest.MediaType, text)
	return d, repo.PushReference(ctx, d, bytes.NewReader(text), repo.Reference.Reference)
}

// check returns an error unless the module may be in a registry.
func (m *Module) check() error {
	if filepath.Base(m.FileName) != m.FileName || m.FileName == "." {
		return fmt.Errorf("%.80q is not the name of a file", m.FileName)
	}
	if err := module.CheckName(module.NameOf(m.FileName)); err != nil {
		return err
	}
	if len(m.File) == 0 || len(m.File) > fleet.MaxModule {
		return fmt.Errorf("it has %d bytes; modules have up to %d", len(m.File), fleet.MaxModule)
	}
	return nil
}

// Place returns where Fetch gets the file of a module that has a reference.
func (r Registry) Place(ref string) (string, error) {
	repo, err := r.open(ref)
	if err != nil {
		return "", err
	}
	scheme := secureHTTP
	if r.PlainHTTP {
		scheme = plainHTTP
	}
	return scheme + repo.Reference.Registry + "/" + repo.Reference.Repository, nil
}

// How places begin.
const (
	secureHTTP = "https://"
	plainHTTP  = "http://"
)

// Fetch gets the file of a module with a digest (see fleet.Digest) from a place,
// which Place has returned. It is what has that digest.
func Fetch(ctx context.Context, place, digest string) ([]byte, error) {
	name, plain := strings.CutPrefix(place, plainHTTP)
	if !plain {
		name = strings.TrimPrefix(place, secureHTTP)
	}
	ref := "sha256:" + digest
	repo, err := Registry{PlainHTTP: plain}.open(name + "@" + ref)
	if err != nil {
		return nil, err
	}
	d, err := repo.Blobs().Resolve(ctx, ref)
	var file []byte
	if err == nil {
		file, err = fetch(ctx, repo.Blobs(), d, fleet.MaxModule)
	}
	if err != nil {
		return nil, fmt.Errorf("the file %.12s from %s: %w", digest, place, repo.explain(err))
	}
	return file, nil
}

// maxManifest and maxSignature bound what is read of them.
const (
	maxManifest  = 256 << 10
	maxSignature = 16 << 10
)

// Pull gets a module from a registry. All of it has the digests that its manifest
// says, and the manifest has that of the reference, if it has one. Who has signed
// the module, the nodes check.
func (r Registry) Pull(ctx context.Context, ref string) (*Module, error) {
	repo, err := r.open(ref)
	if err != nil {
		return nil, err
	}
	m, err := pull(ctx, repo.Repository)
	if err != nil {
		return nil, fmt.Errorf("pull %s: %w", ref, repo.explain(err))
	}
	return m, nil
}

func pull(ctx context.Context, repo *remote.Repository) (*Module, error) {
	d, err := repo.Resolve(ctx, repo.Reference.Reference)
	if err != nil {
		return nil, err
	}
	text, err := fetch(ctx, repo, d, maxManifest)
	if err != nil {
		return nil, err
	}
	var manifest v1.Manifest
	if err := json.Unmarshal(text, &manifest); err != nil {
		return nil, fmt.Errorf("its manifest: %w", err)
	}
	if manifest.ArtifactType != ArtifactType {
		return nil, fmt.Errorf("it is not a module but %.100q; 'taskwatch module push' makes one", manifest.ArtifactType)
	}
	var m Module
	for _, l := range manifest.Layers {
		switch l.MediaType {
		case FileType:
			if m.File != nil {
				return nil, errors.New("it has several files")
			}
			m.FileName = l.Annotations[v1.AnnotationTitle]
			m.File, err = fetch(ctx, repo, l, fleet.MaxModule)
		case SignatureType:
			m.Signature, err = fetch(ctx, repo, l, maxSignature)
		default:
			err = fmt.Errorf("it has a part of an unknown type, %.100q", l.MediaType)
		}
		if err != nil {
			return nil, err
		}
	}
	return &m, m.check()
}

// fetch returns a part with the digest and the size that it must have.
func fetch(ctx context.Context, repo content.Fetcher, d v1.Descriptor, limit int64) ([]byte, error) {
	if d.Size > limit {
		return nil, fmt.Errorf("a part of it has %d bytes; it may have %d", d.Size, limit)
	}
	return content.FetchAll(ctx, repo, d)
}
