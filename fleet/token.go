package fleet

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
)

// Token lets one client enroll at the hub, once. Its text is a secret.
type Token struct {
	ID     string `json:"id"`
	Secret string `json:"secret"`
	CA     []byte `json:"ca"` // the certificate that the hub's own is signed with, in DER
}

// tokenPrefix names the format of a token.
const tokenPrefix = "taskwatch-token-1."

// String returns the text of the token, one word.
func (t *Token) String() string {
	b, err := json.Marshal(t)
	if err != nil {
		panic(err) // strings and bytes
	}
	return tokenPrefix + base64.RawURLEncoding.EncodeToString(b)
}

// ParseToken reads the text of a token.
func ParseToken(text string) (*Token, error) {
	body, ok := strings.CutPrefix(strings.TrimSpace(text), tokenPrefix)
	if !ok {
		return nil, errors.New("it is not a token that 'taskwatch-hub enroll' has printed")
	}
	b, err := base64.RawURLEncoding.DecodeString(body)
	if err != nil {
		return nil, fmt.Errorf("the token is damaged: %w", err)
	}
	var t Token
	if err := json.Unmarshal(b, &t); err != nil || t.ID == "" || t.Secret == "" || len(t.CA) == 0 {
		return nil, errors.New("the token is damaged: print it again with 'taskwatch-hub enroll'")
	}
	return &t, nil
}

// ReadToken reads a token from a file.
func ReadToken(file string) (*Token, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("token: %w", err)
	}
	t, err := ParseToken(string(b))
	if err != nil {
		return nil, fmt.Errorf("token %s: %w", file, err)
	}
	return t, nil
}

// Credential is what a client shows to the hub beside its key.
func (t *Token) Credential() string { return t.ID + "." + t.Secret }

// ParseCredential returns the parts of a credential.
func ParseCredential(text string) (id, secret string, ok bool) { return strings.Cut(text, ".") }
