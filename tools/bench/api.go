package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
	_ "modernc.org/sqlite" // the driver named in fill

	"sandlot/api"
	"sandlot/internal/host/layout"
)

// How full the store is, and who asks. Every user has a fifth of a hundred
// plays and as many playgrounds, so that all together there are ten thousand
// of each; every second playground may be listed by anybody.
const (
	users         = 500
	ownedByEach   = 20
	clients       = 64
	loadTime      = 20 * time.Second
	connections   = 1000
	measuredPosts = 15
)

// api measures a labd of its own, with a store of ten thousand playgrounds and
// ten thousand stopped plays. They are made by copying one of each that came to
// be by the API, so rows and bender's records are what labd writes.
func (b *bench) api() (figures []figure, err error) {
	own := layout.Layout{Root: filepath.Join(b.work, "api")}
	defer func() {
		_, purged := b.command(nil, "bin/labd", "purge", "--yes", "--data-dir", own.Root)
		err = errors.Join(err, purged)
	}()
	for _, dir := range []string{own.Root, own.Pool()} {
		if err := os.MkdirAll(dir, 0o711); err != nil {
			return nil, err
		}
	}
	for from, to := range map[string]string{b.layout.Kernels(): own.Kernels(), b.layout.Images(): own.Images(), b.layout.Bases(): own.Bases()} {
		if out, err := exec.CommandContext(b.ctx, "cp", "-a", "--reflink=auto", from, to).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("cp: %w: %s", err, out)
		}
	}
	if err := os.Chmod(b.work, 0o711); err != nil { // machines' users pass through
		return nil, err
	}
	d, err := b.startLabd(own.Root)
	if err != nil {
		return nil, err
	}
	if err := d.originals(); err != nil {
		d.stop()
		return nil, err
	}
	d.stop()
	if err := fill(b.ctx, own.State()); err != nil {
		return nil, fmt.Errorf("cannot fill the store: %w", err)
	}
	begin := time.Now()
	if d, err = b.startLabd(own.Root); err != nil {
		return nil, err
	}
	defer d.stop()
	resident, err := d.resident()
	if err != nil {
		return nil, err
	}
	log.Printf("labd with a full store: up in %s, %d MB", seconds(time.Since(begin)), resident>>20)
	for _, part := range []func() ([]figure, error){d.lists, d.posts, d.idle} {
		f, err := part()
		if err != nil {
			return nil, err
		}
		figures = append(figures, f...)
	}
	return figures, nil
}

// originals are a playground and a stopped play, by the API.
func (d *labd) originals() error {
	name, err := d.labctl("playground", "create", "bench", "--base", imageName, "-q")
	if err != nil {
		return err
	}
	if _, err := d.labctl("playground", "start", name, "-q", "--skip-wait-running", "--skip-wait-ready", "--skip-wait-init"); err != nil {
		return err
	}
	id, err := d.labctl("playground", "list", "-q")
	if err == nil {
		_, err = d.labctl("playground", "stop", id)
	}
	return err
}

// token is a user's, in the store as its hash.
func token(user int) string { return fmt.Sprintf("%064x", user) }

// words make titles and descriptions that searches tell apart.
var words = strings.Fields(`router bridge cluster kernel pipeline gateway mirror ledger beacon harbor falcon meadow
	granite copper velvet saffron lantern orchard compass thicket glacier summit lagoon prairie`)

func text(i int) string {
	return words[i%len(words)] + " " + words[i/len(words)%len(words)] + " " + words[i*7%len(words)]
}

// fill copies the one playground and the one play.
func fill(ctx context.Context, path string) error {
	db, err := sql.Open("sqlite", "file:"+path+"?_txlock=immediate")
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	do := func(query string, args ...any) {
		if err == nil {
			_, err = tx.ExecContext(ctx, query, args...)
		}
	}
	var name, id string
	if err := tx.QueryRowContext(ctx, `SELECT name FROM playgrounds`).Scan(&name); err != nil {
		return err
	}
	if err := tx.QueryRowContext(ctx, `SELECT id FROM plays`).Scan(&id); err != nil {
		return err
	}
	for u := range users {
		user := fmt.Sprintf("user-%d", u)
		sum := sha256.Sum256([]byte(token(u)))
		do(`INSERT INTO users (id, name, created_at) SELECT ?, ?, created_at FROM users WHERE id = 'admin'`, user, user)
		do(`INSERT INTO sessions (id, user_id, token_hash, created_at) SELECT ?, ?, ?, created_at FROM users WHERE id = 'admin'`,
			"session-"+user, user, hex.EncodeToString(sum[:]))
		for k := range ownedByEach {
			i := u*ownedByEach + k
			listed := `"canList":["owner"]`
			if i%2 == 0 {
				listed = `"canList":["anyone"]`
			}
			do(`INSERT INTO playgrounds (name, owner, base, manifest, summary, created_at, updated_at)
				SELECT ?, ?, base, replace(replace(manifest, '"canList":["anyone"]', ?), title.t, ?), replace(replace(summary, '"canList":["anyone"]', ?), title.t, ?), created_at, updated_at
				FROM playgrounds, (SELECT '"title":"' || json_extract(summary, '$.title') || '"' AS t FROM playgrounds WHERE name = ?) AS title WHERE name = ?`,
				fmt.Sprintf("lab-%05d-%08x", i, i), user, listed, `"title":"`+text(i)+`"`, listed, `"title":"`+text(i)+`"`, name, name)
			copied := fmt.Sprintf("%024x", i+1)
			do(`INSERT INTO plays (id, owner, playground, title, manifest, max_play_minutes, created_at, updated_at,
					goal, persistent, disk_bytes, started_at, ends_at, warned_at, summary)
				SELECT ?, ?, playground, ?, manifest, max_play_minutes, created_at, updated_at,
					goal, persistent, disk_bytes, started_at, ends_at, warned_at, summary FROM plays WHERE id = ?`, copied, user, text(i), id)
			do(`INSERT INTO bender_plays (play_id, goal, record) SELECT ?, goal, replace(record, ?, ?) FROM bender_plays WHERE play_id = ?`, copied, id, copied, id)
		}
	}
	return errors.Join(err, tx.Commit())
}

// question is one kind of request.
type question struct {
	name string
	path func(r *rand.Rand) string
	took []time.Duration
}

func path(p string) func(*rand.Rand) string { return func(*rand.Rand) string { return p } }

// lists is a closed loop: every client is another user, asks as soon as it was
// answered, for one thing after the other.
func (d *labd) lists() ([]figure, error) {
	questions := []*question{
		{name: "GET /plays", path: path("/plays")},
		{name: "GET /playgrounds, official", path: path("/playgrounds")},
		{name: "GET /playgrounds, one's own", path: path("/playgrounds?filter=my-custom")},
		{name: "GET /playgrounds, others' (a page of 50)", path: func(r *rand.Rand) string {
			return fmt.Sprintf("/playgrounds?filter=community&limit=50&offset=%d", 50*r.IntN(20))
		}},
		{name: "GET /search", path: func(r *rand.Rand) string {
			return "/search?search=" + words[r.IntN(len(words))] + "+" + words[r.IntN(len(words))][:4]
		}},
	}
	ctx, cancel := context.WithTimeout(d.bench.ctx, loadTime)
	defer cancel()
	transport := &http.Transport{MaxIdleConnsPerHost: clients}
	defer transport.CloseIdleConnections()
	var mu sync.Mutex
	var failed error
	var all sync.WaitGroup
	for n := range clients {
		all.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(n)))
			user := n * users / clients
			took := make([][]time.Duration, len(questions))
			for i := 0; ctx.Err() == nil; i++ {
				k := (i + n) % len(questions)
				begin := time.Now()
				err := ask(ctx, transport, d.url+"/api"+questions[k].path(r), fmt.Sprintf("session-user-%d", user), token(user))
				if ctx.Err() != nil {
					break
				}
				if err != nil {
					mu.Lock()
					failed = err
					mu.Unlock()
					return
				}
				took[k] = append(took[k], time.Since(begin))
			}
			mu.Lock()
			defer mu.Unlock()
			for k := range questions {
				questions[k].took = append(questions[k].took, took[k]...)
			}
		})
	}
	all.Wait()
	if failed != nil {
		return nil, failed
	}
	total := 0
	var figures []figure
	for _, q := range questions {
		if len(q.took) == 0 {
			return nil, fmt.Errorf("no answer to %s", q.name)
		}
		slices.Sort(q.took)
		total += len(q.took)
		p99 := q.took[len(q.took)*99/100]
		figures = append(figures, figure{
			fmt.Sprintf("%s, %d clients, p99", q.name, clients), fmt.Sprintf("%.1f ms", float64(p99.Microseconds())/1000), "50 ms", p99.Seconds() / 0.050, 1,
		})
		log.Printf("%s: median %s, p99 %s, worst %s", q.name, q.took[len(q.took)/2], p99, q.took[len(q.took)-1])
	}
	log.Printf("%.0f answers a second", float64(total)/loadTime.Seconds())
	return figures, nil
}

// ask reads an answer to its end.
func ask(ctx context.Context, t http.RoundTripper, url, session, token string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(session+":"+token)))
	res, err := t.RoundTrip(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	n, err := io.Copy(io.Discard, res.Body)
	if err == nil && (res.StatusCode != http.StatusOK || n < 3) {
		err = fmt.Errorf("%s: %s, %d bytes", url, res.Status, n)
	}
	return err
}

// post sends a request of the administrator and reads the answer into reply.
func (d *labd) post(path string, body, reply any) (time.Duration, error) {
	raw, err := json.Marshal(body)
	if err != nil {
		return 0, err
	}
	req, err := http.NewRequestWithContext(d.bench.ctx, http.MethodPost, d.url+"/api"+path, bytes.NewReader(raw))
	if err != nil {
		return 0, err
	}
	req.SetBasicAuth(d.session, d.token)
	begin := time.Now()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	took := time.Since(begin)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", path, res.Status, text)
	}
	if err == nil {
		err = json.Unmarshal(text, reply)
	}
	return took, err
}

// posts starts plays, one after the other, and ends each.
func (d *labd) posts() ([]figure, error) {
	var took []time.Duration
	for range measuredPosts {
		var p api.Play
		t, err := d.post("/plays", api.StartPlay{Playground: imageName}, &p)
		if err != nil {
			return nil, err
		}
		took = append(took, t)
		if _, err := d.destroy(p.ID); err != nil {
			return nil, err
		}
	}
	m := median(took)
	log.Printf("POST /plays: median %s, worst %s", m, slices.Max(took))
	return []figure{{"POST /plays until the reply", fmt.Sprintf("%.1f ms", float64(m.Microseconds())/1000), "100 ms", m.Seconds() / 0.100, 1}}, nil
}

// idle opens play connections to one play that runs, and nothing happens.
func (d *labd) idle() ([]figure, error) {
	id, _, err := d.play(one)
	if err != nil {
		return nil, err
	}
	defer func() { _, _ = d.destroy(id) }()
	before, err := d.resident()
	if err != nil {
		return nil, err
	}
	var open []*websocket.Conn
	defer func() {
		for _, c := range open {
			_ = c.CloseNow()
		}
	}()
	for range connections {
		var conn api.Conn
		if _, err := d.post("/plays/"+id+"/conns", struct{}{}, &conn); err != nil {
			return nil, err
		}
		c, _, err := websocket.Dial(d.bench.ctx, conn.URL, nil)
		if err != nil {
			return nil, err
		}
		open = append(open, c)
		go func() { // as clients do
			for {
				if _, _, err := c.Read(d.bench.ctx); err != nil {
					return
				}
			}
		}()
	}
	// Long enough for every connection to have repeated its status.
	select {
	case <-time.After(15 * time.Second):
	case <-d.bench.ctx.Done():
		return nil, d.bench.ctx.Err()
	}
	after, err := d.resident()
	if err != nil {
		return nil, err
	}
	const mb = 1 << 20
	more := float64(after-before) / mb
	return []figure{{fmt.Sprintf("%d idle play connections, more in labd", connections), fmt.Sprintf("%.1f MB", more), "40 MB", more / 40, 1}}, nil
}
