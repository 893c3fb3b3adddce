package control

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"sandlot/api"
	"sandlot/internal/bender"
	"sandlot/internal/store"
)

// AdminName is the account of whoever may read labd's data directory.
const AdminName = "admin"

// Credentials are one session's id and token.
type Credentials struct {
	SessionID   string `json:"sessionID"`
	AccessToken string `json:"accessToken"`
}

// EnsureAdmin makes the administrator's account and makes sure that these
// credentials open it; empty ones are made anew.
func EnsureAdmin(ctx context.Context, s *store.Store, have Credentials) (Credentials, error) {
	now := time.Now()
	user, err := s.UserByName(ctx, AdminName)
	if errors.Is(err, store.ErrNotFound) {
		user = store.User{ID: AdminName, Name: AdminName, CreatedAt: now}
		err = s.PutUser(ctx, user)
	}
	if err != nil {
		return have, err
	}
	if have.SessionID == "" || have.AccessToken == "" {
		if have, err = makeCredentials(rand.Reader); err != nil {
			return have, err
		}
	}
	return have, s.PutSession(ctx, store.Session{
		ID: have.SessionID, UserID: user.ID, TokenHash: hash(have.AccessToken), CreatedAt: now,
	})
}

func makeCredentials(random io.Reader) (Credentials, error) {
	var b [48]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return Credentials{}, fmt.Errorf("cannot make credentials: %w", err)
	}
	return Credentials{SessionID: hex.EncodeToString(b[:16]), AccessToken: hex.EncodeToString(b[16:])}, nil
}

func hash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

var errCredentials = api.Errorf(api.Unauthenticated, "sign in first: these credentials are not valid")

// Authenticate returns the user behind a session.
func (c *Control) Authenticate(ctx context.Context, sessionID, token string) (api.Me, error) {
	s, err := c.opts.Store.Session(ctx, sessionID)
	if errors.Is(err, store.ErrNotFound) {
		return api.Me{}, errCredentials
	}
	if err != nil {
		return api.Me{}, err
	}
	if subtle.ConstantTimeCompare([]byte(hash(token)), []byte(s.TokenHash)) != 1 {
		return api.Me{}, errCredentials
	}
	u, err := c.opts.Store.User(ctx, s.UserID)
	if err != nil {
		return api.Me{}, err
	}
	return api.Me{ID: u.ID}, nil
}

// Administrator tells whether a user runs this labd.
func (c *Control) Administrator(user api.Me) bool { return user.ID == AdminName }

// EndSession forgets a session of the user; one that is gone, or another's, is
// left alone without an error.
func (c *Control) EndSession(ctx context.Context, user api.Me, sessionID string) error {
	s, err := c.opts.Store.Session(ctx, sessionID)
	if errors.Is(err, store.ErrNotFound) || err == nil && s.UserID != user.ID {
		return nil
	}
	if err != nil {
		return err
	}
	return c.opts.Store.DeleteSession(ctx, sessionID)
}

// makeSecrets makes the keys of a play with n machines.
func makeSecrets(random io.Reader, n int) (bender.Secrets, error) {
	var s bender.Secrets
	for range n {
		private, public, err := makeKey(random)
		if err != nil {
			return s, err
		}
		s.HostKeys, s.HostPublicKeys = append(s.HostKeys, private), append(s.HostPublicKeys, public)
	}
	var err error
	if s.UserKey, s.UserPublicKey, err = makeKey(random); err != nil {
		return s, err
	}
	var seed [32]byte
	if _, err := io.ReadFull(random, seed[:]); err != nil {
		return s, fmt.Errorf("cannot make seed: %w", err)
	}
	s.Seed = base64.StdEncoding.EncodeToString(seed[:])
	return s, nil
}

// makeKey returns an OpenSSH private key and its authorized_keys form without
// the newline.
func makeKey(random io.Reader) (private, public string, err error) {
	pub, key, err := ed25519.GenerateKey(random)
	if err != nil {
		return "", "", fmt.Errorf("cannot make key: %w", err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		return "", "", fmt.Errorf("cannot make key: %w", err)
	}
	sshPublic, err := ssh.NewPublicKey(pub)
	if err != nil {
		return "", "", fmt.Errorf("cannot make key: %w", err)
	}
	return string(pem.EncodeToMemory(block)), strings.TrimSpace(string(ssh.MarshalAuthorizedKey(sshPublic))), nil
}
