package gateway

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"sync"
	"time"

	"sandlot/internal/play"
)

// maxTickets bounds the tickets of one play; over it, the one that ends first
// goes.
const maxTickets = 1024

// Tickets are credentials that stand in a URL: 256 random bits that open one
// thing of one play until they end. Only their hashes are kept.
type Tickets[T any] struct {
	// Random makes tickets; Now ends them.
	Random io.Reader
	Now    func() time.Time

	mu    sync.Mutex
	plays map[play.ID]map[[sha256.Size]byte]ticket[T]
}

type ticket[T any] struct {
	value T
	ends  time.Time
}

// NewTickets returns an empty set.
func NewTickets[T any]() *Tickets[T] {
	return &Tickets[T]{Random: rand.Reader, Now: time.Now, plays: map[play.ID]map[[sha256.Size]byte]ticket[T]{}}
}

// Issue returns a new ticket for value that ends after ttl or with the play.
func (t *Tickets[T]) Issue(id play.ID, value T, ttl time.Duration) (string, error) {
	token, err := secret(t.Random)
	if err != nil {
		return "", err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.Now()
	t.sweep(now)
	held := t.plays[id]
	if held == nil {
		held = map[[sha256.Size]byte]ticket[T]{}
		t.plays[id] = held
	}
	if len(held) >= maxTickets {
		var first [sha256.Size]byte
		var ends time.Time
		for key, other := range held {
			if ends.IsZero() || other.ends.Before(ends) {
				first, ends = key, other.ends
			}
		}
		delete(held, first)
	}
	held[sha256.Sum256([]byte(token))] = ticket[T]{value: value, ends: now.Add(ttl)}
	return token, nil
}

// Look returns what a ticket opens; the ticket stays good.
func (t *Tickets[T]) Look(token string) (value T, id play.ID, ok bool) {
	return t.find(token, false)
}

// Take is Look for single use.
func (t *Tickets[T]) Take(token string) (value T, id play.ID, ok bool) {
	return t.find(token, true)
}

func (t *Tickets[T]) find(token string, once bool) (value T, id play.ID, ok bool) {
	key := sha256.Sum256([]byte(token))
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sweep(t.Now())
	for id, held := range t.plays {
		if found, ok := held[key]; ok {
			if once {
				delete(held, key)
			}
			return found.value, id, true
		}
	}
	return value, "", false
}

// Revoke ends every ticket of a play.
func (t *Tickets[T]) Revoke(id play.ID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.plays, id)
}

// Drop ends the tickets whose value matches.
func (t *Tickets[T]) Drop(match func(T) bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, held := range t.plays {
		for key, one := range held {
			if match(one.value) {
				delete(held, key)
			}
		}
	}
}

func (t *Tickets[T]) sweep(now time.Time) {
	for id, held := range t.plays {
		for key, other := range held {
			if !other.ends.After(now) {
				delete(held, key)
			}
		}
		if len(held) == 0 {
			delete(t.plays, id)
		}
	}
}

// secret is 256 random bits in characters that are safe in URLs and cookies.
func secret(random io.Reader) (string, error) {
	var b [32]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return "", fmt.Errorf("cannot make credential: %v", err)
	}
	return base64.RawURLEncoding.EncodeToString(b[:]), nil
}
