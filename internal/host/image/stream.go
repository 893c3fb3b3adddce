package image

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// zstdWindow bounds the memory a layer can ask of the decompressor.
const zstdWindow = 128 << 20

// digestError reports content that is not what its name says.
type digestError struct{ what, got, want string }

func (e *digestError) Error() string {
	return fmt.Sprintf("the %s does not match its digest: it is sha256:%s, want %s", e.what, e.got, e.want)
}

// digestReader checks the digest of a stream when it ends: instead of io.EOF
// it returns an error if the content was not the right one.
type digestReader struct {
	r    io.Reader
	sum  hash.Hash
	want v1.Hash
	what string
}

func newDigestReader(r io.Reader, want v1.Hash, what string) *digestReader {
	return &digestReader{r: r, sum: sha256.New(), want: want, what: what}
}

func (d *digestReader) Read(b []byte) (int, error) {
	n, err := d.r.Read(b)
	d.sum.Write(b[:n])
	if err == io.EOF {
		if got := hex.EncodeToString(d.sum.Sum(nil)); got != d.want.Hex {
			return n, &digestError{d.what, got, d.want.String()}
		}
	}
	return n, err
}

// openStream returns the uncompressed bytes of a layer: plain, gzip or zstd,
// told apart by their first bytes. Reading to the end fails unless the digests
// of the blob (if given) and of the uncompressed layer are right.
// Decompressing and hashing run ahead of the reader, on another processor.
func openStream(r io.Reader, digest, diffID v1.Hash) (io.ReadCloser, error) {
	var blob io.Reader = r
	if digest.Hex != "" {
		blob = newDigestReader(r, digest, "blob")
	}
	br := newBuffered(blob)
	plain, err := decompress(br)
	if err != nil {
		return nil, err
	}
	// The blob may go on after the compressed data ends; its digest covers that.
	all := io.MultiReader(plain, drain{br})
	return readAhead(newDigestReader(all, diffID, "layer"), plain), nil
}

// decompress tells the compression from the first bytes.
func decompress(br *bufio.Reader) (io.ReadCloser, error) {
	magic, err := br.Peek(4)
	if err != nil && err != io.EOF {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(br)
		if err != nil {
			return nil, fmt.Errorf("cannot read gzip: %w", readError(err))
		}
		return z, nil
	case bytes.HasPrefix(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(br, zstd.WithDecoderMaxWindow(zstdWindow), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, fmt.Errorf("cannot read zstd: %w", err)
		}
		return z.IOReadCloser(), nil
	case bytes.HasPrefix(magic, []byte("BZh")), bytes.HasPrefix(magic, []byte{0xfd, '7', 'z', 'X'}):
		return nil, fmt.Errorf("the layer's compression is not supported: want gzip, zstd or none")
	}
	return io.NopCloser(br), nil
}

// drain reads its reader to the end and yields nothing.
type drain struct{ r io.Reader }

func (d drain) Read([]byte) (int, error) {
	if _, err := io.Copy(io.Discard, d.r); err != nil {
		return 0, err
	}
	return 0, io.EOF
}

const (
	aheadChunk  = 512 << 10
	aheadChunks = 8
)

// ahead reads from its source in a goroutine of its own, a few chunks ahead.
type ahead struct {
	full  chan chunk
	free  chan []byte
	stop  chan struct{}
	done  chan struct{}
	once  sync.Once
	under io.Closer
	buf   []byte // what is left of the current chunk
	whole []byte // the current chunk
	err   error
}

type chunk struct {
	data []byte
	err  error
}

func readAhead(r io.Reader, under io.Closer) *ahead {
	a := &ahead{
		full: make(chan chunk, aheadChunks), free: make(chan []byte, aheadChunks),
		stop: make(chan struct{}), done: make(chan struct{}), under: under,
	}
	for range aheadChunks {
		a.free <- nil
	}
	go func() {
		defer close(a.done)
		for {
			var b []byte
			select {
			case b = <-a.free:
			case <-a.stop:
				return
			}
			if b == nil {
				b = make([]byte, aheadChunk)
			}
			// Not io.ReadFull: it would hide whether io.ErrUnexpectedEOF is its
			// own or says that compressed data is truncated.
			var n int
			var err error
			for n < len(b) && err == nil {
				var m int
				m, err = r.Read(b[n:])
				n += m
			}
			select {
			case a.full <- chunk{b[:n], err}:
			case <-a.stop:
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return a
}

func (a *ahead) Read(p []byte) (int, error) {
	for len(a.buf) == 0 {
		if a.err != nil {
			return 0, a.err
		}
		if a.whole != nil {
			a.free <- a.whole
			a.whole = nil
		}
		c := <-a.full
		a.buf, a.err = c.data, c.err
		a.whole = c.data[:cap(c.data)]
	}
	n := copy(p, a.buf)
	a.buf = a.buf[n:]
	return n, nil
}

// Close stops reading ahead. The source may be closed afterwards.
func (a *ahead) Close() error {
	a.once.Do(func() { close(a.stop) })
	<-a.done
	return a.under.Close()
}

func newBuffered(r io.Reader) *bufio.Reader { return bufio.NewReaderSize(r, 1<<20) }
