package registry

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	storage "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/factory"
	"github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	"golang.org/x/sys/unix"
)

// The library makes its storage itself, by name, from parameters: ours carry
// the finished one.
const (
	driverName = "bounded"
	driverKey  = "driver"
)

type makeBounded struct{}

func (makeBounded) Create(_ context.Context, parameters map[string]any) (storage.StorageDriver, error) {
	files, ok := parameters[driverKey].(*bounded)
	if !ok {
		return nil, errors.New("no files")
	}
	return files, nil
}

func init() { factory.Register(driverName, makeBounded{}) }

const (
	// perFile is what a file costs besides its bytes: its inode and folders.
	perFile = 4 << 10
	// roomEvery is after how many new bytes the file system is asked for room.
	roomEvery = 8 << 20
)

// fullError says that a registry's limit is met.
type fullError struct {
	limit int64
	// cause is set if it is the file system that has no room.
	cause error
}

func (e *fullError) Error() string {
	if e.cause != nil {
		return fmt.Sprintf("the play's registry cannot store more: %v", e.cause)
	}
	return fmt.Sprintf("the play's registry is full: its limit is %d MiB; use a new play, or have the limit raised (labd up --registry-size)", e.limit>>20)
}

// bounded is the library's storage in files, with a limit to what they hold.
type bounded struct {
	storage.StorageDriver
	dir   string
	limit int64
	room  func(ctx context.Context, need int64) error
	// used may be more than there is, after uploads that were written and
	// deleted at once; never less.
	used atomic.Int64
	// asked is for how much the file system has room, as it said last.
	asked atomic.Int64
	// removing keeps two requests from giving back the room of one file.
	removing sync.Mutex
}

func newBounded(opts Options) (*bounded, error) {
	b := &bounded{
		StorageDriver: filesystem.New(filesystem.DriverParameters{RootDirectory: opts.Dir, MaxThreads: maxConns}),
		dir:           opts.Dir, limit: opts.Limit, room: opts.Room,
	}
	used, err := cost(opts.Dir)
	b.used.Store(used)
	b.ask(used)
	return b, err
}

// ask has the file system asked for room once more than used has grown to the
// next multiple of roomEvery: by all that write then, for a refusal of one of
// them must not let the others through.
func (b *bounded) ask(used int64) { b.asked.Store((used/roomEvery + 1) * roomEvery) }

// cost is what a file or folder counts, zero if it is not there.
func cost(path string) (sum int64, err error) {
	err = filepath.WalkDir(path, func(_ string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || err == nil && d.IsDir() {
			return nil
		}
		if err != nil {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil // a request removed it meanwhile
		}
		if err == nil {
			sum += perFile + info.Size()
		}
		return err
	})
	return sum, err
}

// cost of what the library calls path. What cannot be read counts nothing.
func (b *bounded) cost(path string) int64 {
	n, _ := cost(filepath.Join(b.dir, path))
	return n
}

// take counts n more bytes, or refuses and lets the request's answer know.
func (b *bounded) take(ctx context.Context, n int64) error {
	used := b.used.Add(n)
	var full *fullError
	if used > b.limit {
		full = &fullError{limit: b.limit}
	} else if b.room != nil && used >= b.asked.Load() {
		if err := b.room(ctx, roomEvery); err != nil {
			full = &fullError{cause: err}
		} else {
			b.ask(used)
		}
	}
	if full == nil {
		return nil
	}
	b.used.Add(-n)
	return b.full(ctx, full)
}

func (b *bounded) full(ctx context.Context, full *fullError) error {
	if o, ok := ctx.Value(outcomeKey{}).(*outcome); ok {
		o.full.Store(full)
	}
	return full
}

// failed recognises a file system that is full.
func (b *bounded) failed(ctx context.Context, err error) error {
	cause := err
	var wrapped storage.Error
	if errors.As(err, &wrapped) {
		cause = wrapped.Detail
	}
	if errors.Is(cause, unix.ENOSPC) || errors.Is(cause, unix.EDQUOT) {
		return b.full(ctx, &fullError{cause: errors.New("the pool is full")})
	}
	return err
}

// ofUpload tells whether a file notes how far an upload has come. The library
// writes it after its answer, so that nobody would hear of a refusal; the next
// bytes of the upload are refused instead.
func ofUpload(path string) bool {
	_, upload, found := strings.Cut(path, "/_uploads/") // no repository has such a name
	parts := strings.Split(upload, "/")
	return found && len(parts) == 4 && parts[1] == "hashstates"
}

func (b *bounded) PutContent(ctx context.Context, path string, content []byte) error {
	n := perFile + int64(len(content))
	if ofUpload(path) {
		b.used.Add(n)
	} else if err := b.take(ctx, n); err != nil {
		return err
	}
	old := b.cost(path)
	if err := b.StorageDriver.PutContent(ctx, path, content); err != nil {
		b.used.Add(-n)
		return b.failed(ctx, err)
	}
	b.used.Add(-old)
	return nil
}

func (b *bounded) Delete(ctx context.Context, path string) error {
	b.removing.Lock()
	defer b.removing.Unlock()
	old := b.cost(path)
	err := b.StorageDriver.Delete(ctx, path)
	if err == nil {
		b.ask(b.used.Add(-old)) // others may take the room
	}
	return err
}

func (b *bounded) Move(ctx context.Context, from, to string) error {
	old := b.cost(to)
	err := b.StorageDriver.Move(ctx, from, to)
	if err == nil {
		b.used.Add(-old)
	}
	return err
}

func (b *bounded) Writer(ctx context.Context, path string, appending bool) (storage.FileWriter, error) {
	old := b.cost(path)
	fresh := old == 0
	if fresh {
		if err := b.take(ctx, perFile); err != nil {
			return nil, err
		}
	}
	w, err := b.StorageDriver.Writer(ctx, path, appending)
	if err != nil {
		if fresh {
			b.used.Add(-perFile)
		}
		return nil, b.failed(ctx, err)
	}
	if !fresh && !appending {
		b.used.Add(perFile - old)
	}
	return &writer{FileWriter: w, ctx: ctx, files: b}, nil
}

// writer counts what is written to a file.
type writer struct {
	storage.FileWriter
	ctx   context.Context
	files *bounded
	// refused keeps the first refusal: the file is gone then.
	refused   error
	committed bool
}

func (w *writer) Write(p []byte) (int, error) {
	if w.refused != nil {
		return 0, w.refused
	}
	if err := w.files.take(w.ctx, int64(len(p))); err != nil {
		return 0, w.refuse(err)
	}
	n, err := w.FileWriter.Write(p)
	w.files.used.Add(int64(n - len(p)))
	if err != nil {
		err = w.files.failed(w.ctx, err)
		if errors.As(err, new(*fullError)) {
			return n, w.refuse(err)
		}
	}
	return n, err
}

// refuse gives the room of an upload back that cannot end well: the client
// begins a new one.
func (w *writer) refuse(err error) error {
	w.refused = err
	_ = w.Cancel(context.WithoutCancel(w.ctx))
	return err
}

func (w *writer) Cancel(ctx context.Context) error {
	w.files.removing.Lock()
	defer w.files.removing.Unlock()
	size := w.Size()
	err := w.FileWriter.Cancel(ctx)
	if err == nil {
		w.files.ask(w.files.used.Add(-perFile - size))
	}
	return err
}

func (w *writer) Commit(ctx context.Context) error {
	if w.refused != nil {
		return w.refused
	}
	w.committed = true
	return w.files.failed(ctx, w.FileWriter.Commit(ctx))
}

func (w *writer) Close() error {
	if w.refused != nil {
		return nil
	}
	o, _ := w.ctx.Value(outcomeKey{}).(*outcome)
	if (w.ctx.Err() != nil || o != nil && o.cut.Load()) && !w.committed {
		// Its client is gone, and clients do not go on with such an upload.
		return w.Cancel(context.WithoutCancel(w.ctx))
	}
	return w.files.failed(w.ctx, w.FileWriter.Close())
}
