// Package oidc signs people in at an OpenID Connect provider: in goes what the
// provider is, out come addresses to send browsers to and, when these come
// back, who somebody is there. Code flow with PKCE, state and nonce; the
// provider's tokens are read once and forgotten.
package oidc

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/hashicorp/golang-lru/v2/expirable"
	"golang.org/x/oauth2"

	"sandlot/api"
)

// Config is what an operator says of a provider.
type Config struct {
	Issuer       string // as in its discovery document
	ClientID     string
	ClientSecret string // may be empty for a public client
	// Name is what people call it; empty: the issuer's host.
	Name string
	// Allow lists email addresses, or @domains, that the provider has verified;
	// empty lets everybody in whom the provider knows.
	Allow []string
}

// A visit at the provider may take this long, and so many may be under way.
const (
	visitLife = 10 * time.Minute
	maxVisits = 10_000
	// timeout bounds one request to the provider.
	timeout = 15 * time.Second
)

type visit struct{ nonce, verifier, redirect, next string }

// Provider is one provider. Use New; its methods may be called concurrently.
type Provider struct {
	config Config
	// Random and HTTP may be replaced before use.
	Random io.Reader
	HTTP   *http.Client
	visits *expirable.LRU[string, visit]

	mu    sync.Mutex
	found *oidc.Provider // nil until it has answered
}

// New looks nothing up yet: the provider may be down while labd starts.
func New(c Config) (*Provider, error) {
	u, err := url.Parse(c.Issuer)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, fmt.Errorf("cannot use OpenID Connect issuer %q: write its address, like https://id.example.org", c.Issuer)
	}
	if u.Scheme == "http" && u.Hostname() != "localhost" && u.Hostname() != "127.0.0.1" && u.Hostname() != "::1" {
		return nil, fmt.Errorf("cannot use OpenID Connect issuer %q: anybody on the way could sign in as anybody; write https", c.Issuer)
	}
	if c.ClientID == "" {
		return nil, errors.New("cannot use an OpenID Connect provider without a client id: register labd there, and write it")
	}
	if c.Name == "" {
		c.Name = u.Hostname()
	}
	return &Provider{
		config: c, Random: rand.Reader, HTTP: &http.Client{Timeout: timeout},
		visits: expirable.NewLRU[string, visit](maxVisits, nil, visitLife),
	}, nil
}

// Name is what people call it.
func (p *Provider) Name() string { return p.config.Name }

// discover asks the provider for its addresses until it has answered once.
func (p *Provider) discover(ctx context.Context) (*oidc.Provider, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.found != nil {
		return p.found, nil
	}
	// Its keys are fetched later with this context, too.
	found, err := oidc.NewProvider(oidc.ClientContext(context.WithoutCancel(ctx), p.HTTP), p.config.Issuer)
	if err != nil {
		return nil, api.Errorf(api.Unreachable, "cannot sign in at %s now: %v", p.config.Name, err)
	}
	p.found = found
	return found, nil
}

func (p *Provider) oauth(found *oidc.Provider, redirect string) *oauth2.Config {
	return &oauth2.Config{
		ClientID: p.config.ClientID, ClientSecret: p.config.ClientSecret, Endpoint: found.Endpoint(),
		RedirectURL: redirect, Scopes: []string{oidc.ScopeOpenID, "profile", "email"},
	}
}

func (p *Provider) secret() (string, error) {
	var b [32]byte
	if _, err := io.ReadFull(p.Random, b[:]); err != nil {
		return "", fmt.Errorf("cannot make a state: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(b[:]), nil
}

// Start begins a visit: the browser goes to address, and must bring state back
// to redirect.
func (p *Provider) Start(ctx context.Context, redirect, next string) (address, state string, err error) {
	found, err := p.discover(ctx)
	if err != nil {
		return "", "", err
	}
	if state, err = p.secret(); err != nil {
		return "", "", err
	}
	v := visit{verifier: oauth2.GenerateVerifier(), redirect: redirect, next: next}
	if v.nonce, err = p.secret(); err != nil {
		return "", "", err
	}
	p.visits.Add(state, v)
	return p.oauth(found, redirect).AuthCodeURL(state, oidc.Nonce(v.nonce), oauth2.S256ChallengeOption(v.verifier)), state, nil
}

// Finish ends a visit, once, and tells who came back from it.
func (p *Provider) Finish(ctx context.Context, state string, query url.Values) (who api.Identity, next string, err error) {
	v, ok := p.visits.Get(state)
	if !ok || !p.visits.Remove(state) {
		return who, "", api.Errorf(api.Gone, "this login took too long, or was used already: sign in again")
	}
	if refused := query.Get("error"); refused != "" {
		return who, "", api.Errorf(api.Forbidden, "%s did not sign you in: %.100q", p.config.Name, refused)
	}
	found, err := p.discover(ctx)
	if err != nil {
		return who, "", err
	}
	ctx = oidc.ClientContext(ctx, p.HTTP)
	token, err := p.oauth(found, v.redirect).Exchange(ctx, query.Get("code"), oauth2.VerifierOption(v.verifier))
	if err != nil {
		return who, "", api.Errorf(api.Forbidden, "%s did not take the login back: sign in again", p.config.Name)
	}
	raw, _ := token.Extra("id_token").(string)
	id, err := found.Verifier(&oidc.Config{ClientID: p.config.ClientID}).Verify(ctx, raw)
	if err != nil {
		return who, "", api.Errorf(api.Forbidden, "cannot trust what %s says of you: %v", p.config.Name, err)
	}
	if subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(v.nonce)) != 1 {
		return who, "", api.Errorf(api.Forbidden, "what %s says is of another login: sign in again", p.config.Name)
	}
	var c claims
	if err := id.Claims(&c); err != nil {
		return who, "", api.Errorf(api.Forbidden, "cannot read what %s says of you: %v", p.config.Name, err)
	}
	if !allowed(p.config.Allow, c) {
		return who, "", api.Errorf(api.Forbidden, "%s knows you, but this labd does not let you in: ask its administrator", p.config.Name)
	}
	return api.Identity{Issuer: id.Issuer, Subject: id.Subject, Name: c.name(), Email: c.address()}, v.next, nil
}

// claims are what providers may say of somebody.
type claims struct {
	Preferred string `json:"preferred_username"`
	Email     string `json:"email"`
	Verified  bool   `json:"email_verified"`
}

func (c claims) name() string {
	name := c.Preferred
	if name == "" {
		name = c.Email
	}
	name, _, _ = strings.Cut(name, "@")
	return name
}

// address is theirs for certain, or none.
func (c claims) address() string {
	if !c.Verified || len(c.Email) > maxEmail || strings.ContainsFunc(c.Email, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return ""
	}
	return c.Email
}

// maxEmail is the longest that an address can be, by RFC 5321.
const maxEmail = 254

// allowed looks at verified addresses only: anybody can claim the others.
func allowed(list []string, c claims) bool {
	if len(list) == 0 {
		return true
	}
	email := strings.ToLower(c.Email)
	at := strings.LastIndex(email, "@")
	return c.Verified && at > 0 && slices.ContainsFunc(list, func(entry string) bool {
		entry = strings.ToLower(entry)
		return entry == email || entry == email[at:]
	})
}
