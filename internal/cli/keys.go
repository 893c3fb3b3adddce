package cli

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/term"
)

// privatePath is the private key's file: the config may name the public one.
func privatePath(identity string) string { return strings.TrimSuffix(identity, ".pub") }

// generateKey writes a new Ed25519 pair to path and path.pub.
func generateKey(path, passphrase string) error {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return fmt.Errorf("cannot make SSH key: %v", err)
	}
	var block *pem.Block
	if passphrase == "" {
		block, err = ssh.MarshalPrivateKey(private, "")
	} else {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(private, "", []byte(passphrase))
	}
	if err != nil {
		return fmt.Errorf("cannot make SSH key: %v", err)
	}
	sshPublic, err := ssh.NewPublicKey(public)
	if err != nil {
		return fmt.Errorf("cannot make SSH key: %v", err)
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("cannot write SSH key: %v", err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return fmt.Errorf("cannot write SSH key: %v", err)
	}
	if err := replaceFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
		return fmt.Errorf("cannot write SSH key: %v", err)
	}
	if err := replaceFile(path+".pub", ssh.MarshalAuthorizedKey(sshPublic), 0o644); err != nil {
		return fmt.Errorf("cannot write SSH key: %v", err)
	}
	return nil
}

// keepKey makes the pair of the config if there is none, as for who never signed
// in: at a labd for one user, or with a token from the environment. Other
// programs (scp, editors) take a key only from its file. A public key that the
// user brought (a path ending in .pub) is theirs.
func keepKey(identity string) error {
	if strings.HasSuffix(identity, ".pub") {
		return nil
	}
	for _, file := range []string{identity, identity + ".pub"} {
		if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
			return nil // the user's agent may have the other half
		}
	}
	return generateKey(identity, "")
}

// removeKey removes a pair that generateKey made; a public key that the user
// brought (a path ending in .pub) is theirs.
func removeKey(identity string) error {
	if strings.HasSuffix(identity, ".pub") {
		return nil
	}
	for _, path := range []string{identity, identity + ".pub"} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("cannot remove SSH key: %v", err)
		}
	}
	return nil
}

// identity is how a person proves who they are to machines.
type identity struct {
	// public is the authorized_keys line sent with a tunnel request, with its
	// newline.
	public string
	auth   []ssh.AuthMethod
	agent  agent.ExtendedAgent // nil if there is none
}

// identity reads the key of the config and finds the agent. Without a key
// file (credentials from the environment only) it makes one for this run.
func (a *App) identity(cfg Config) (identity, error) {
	var id identity
	var signers []ssh.Signer
	path := privatePath(cfg.SSHIdentityFile)
	public, err := os.ReadFile(path + ".pub")
	switch {
	case err == nil:
		id.public = strings.TrimSpace(string(public)) + "\n"
		signer, err := a.signer(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return id, err
		}
		if signer != nil {
			signers = append(signers, signer)
		}
	case errors.Is(err, fs.ErrNotExist):
		_, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return id, fmt.Errorf("cannot make SSH key: %v", err)
		}
		signer, err := ssh.NewSignerFromKey(private)
		if err != nil {
			return id, fmt.Errorf("cannot make SSH key: %v", err)
		}
		id.public = string(ssh.MarshalAuthorizedKey(signer.PublicKey()))
		signers = append(signers, signer)
	default:
		return id, fmt.Errorf("cannot read SSH key: %v", err)
	}
	if socket := a.Getenv("SSH_AUTH_SOCK"); socket != "" {
		if conn, err := net.Dial("unix", socket); err == nil {
			id.agent = agent.NewClient(conn)
		}
	}
	if id.agent == nil && len(signers) == 0 {
		return id, fmt.Errorf("cannot read SSH key: there is no %s and no SSH agent", path)
	}
	// One method: the SSH library tries each method only once.
	id.auth = []ssh.AuthMethod{ssh.PublicKeysCallback(func() ([]ssh.Signer, error) {
		all := signers
		if id.agent != nil {
			if held, err := id.agent.Signers(); err == nil {
				all = append(all[:len(all):len(all)], held...)
			}
		}
		return all, nil
	})}
	return id, nil
}

// signer reads a private key and asks for its passphrase if it has one and
// there is a terminal to ask at.
func (a *App) signer(path string) (ssh.Signer, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	signer, err := ssh.ParsePrivateKey(raw)
	var locked *ssh.PassphraseMissingError
	if errors.As(err, &locked) {
		fd, ok := terminalOf(a.In)
		if !ok {
			return nil, nil // the agent may have it
		}
		fmt.Fprintf(a.Err, "Passphrase of %s: ", path)
		passphrase, readErr := term.ReadPassword(fd)
		fmt.Fprintln(a.Err)
		if readErr != nil {
			return nil, fmt.Errorf("cannot read passphrase: %v", readErr)
		}
		signer, err = ssh.ParsePrivateKeyWithPassphrase(raw, passphrase)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read SSH key %s: %v", path, err)
	}
	return signer, nil
}
