package control

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"strings"

	"golang.org/x/crypto/ssh"

	"sandlot/internal/bender"
)

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
