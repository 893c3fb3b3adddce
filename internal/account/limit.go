package account

import (
	"net/netip"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"

	"sandlot/api"
)

// limits slow guessing down. Each account and each address has a bucket of
// its own; the ones used last are remembered.
type limits struct {
	accounts, addresses, logins *lru.Cache[string, *rate.Limiter]
}

// remembered bounds the memory of the limits.
const remembered = 10_000

// How much is let through at once, and how soon there is more.
const (
	accountBurst, accountEvery = 10, 30 * time.Second
	addressBurst, addressEvery = 30, 5 * time.Second
	loginBurst, loginEvery     = 30, 2 * time.Second
)

func newLimits() *limits {
	cache := func() *lru.Cache[string, *rate.Limiter] {
		c, err := lru.New[string, *rate.Limiter](remembered)
		if err != nil {
			panic(err) // only for a size below 1
		}
		return c
	}
	return &limits{accounts: cache(), addresses: cache(), logins: cache()}
}

// guess counts one try of a password; an error says when the next may be.
func (l *limits) guess(name, address string, now time.Time) error {
	if err := take(l.addresses, network(address), addressBurst, addressEvery, now); err != nil {
		return err
	}
	return take(l.accounts, name, accountBurst, accountEvery, now)
}

// right forgets the guesses at an account.
func (l *limits) right(name string) { l.accounts.Remove(name) }

// login counts one pending session.
func (l *limits) login(address string, now time.Time) error {
	return take(l.logins, network(address), loginBurst, loginEvery, now)
}

func take(buckets *lru.Cache[string, *rate.Limiter], key string, burst int, every time.Duration, now time.Time) error {
	fresh := rate.NewLimiter(rate.Every(every), burst)
	bucket, known, _ := buckets.PeekOrAdd(key, fresh)
	if !known {
		bucket = fresh
	} else {
		buckets.Get(key) // it is in use
	}
	if r := bucket.ReserveN(now, 1); r.DelayFrom(now) > 0 {
		wait := r.DelayFrom(now)
		r.CancelAt(now)
		e := api.Errorf(api.TooMany, "too many tries: wait %s, then try again", wait.Round(time.Second))
		e.RetryAfter = wait
		return e
	}
	return nil
}

// network is what one person has of addresses: a /64 of IPv6.
func network(address string) string {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return address
	}
	ip = ip.Unmap()
	if ip.Is6() {
		if p, err := ip.WithZone("").Prefix(64); err == nil {
			return p.String()
		}
	}
	return ip.String()
}
