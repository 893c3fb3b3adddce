package kernel

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"io"
	"math/rand"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz"
	"github.com/ulikunitz/xz/lzma"
)

// fakeELF is a small x86-64 ELF with one note.
func fakeELF(note uint32) []byte {
	b := make([]byte, 0, 70000)
	b = append(b, "\x7fELF\x02\x01\x01"...)
	b = append(b, make([]byte, 9)...)
	le := binary.LittleEndian
	for _, v := range []uint16{2, 62} { // executable, x86-64
		b = le.AppendUint16(b, v)
	}
	b = le.AppendUint32(b, 1)
	for _, v := range []uint64{0x1000000, 64, 0} { // entry, program headers, no sections
		b = le.AppendUint64(b, v)
	}
	b = le.AppendUint32(b, 0)
	for _, v := range []uint16{64, 56, 1, 0, 0, 0} {
		b = le.AppendUint16(b, v)
	}
	const noteSize = 12 + 4 + 4 + 12 + 4 + 8
	b = le.AppendUint32(b, 4) // PT_NOTE
	b = le.AppendUint32(b, 4)
	for _, v := range []uint64{120, 0, 0, noteSize, noteSize, 4} {
		b = le.AppendUint64(b, v)
	}
	for _, v := range []uint32{4, 2, 6} { // a first note, with padding
		b = le.AppendUint32(b, v)
	}
	b = append(b, "Xen\x00ab\x00\x00"...)
	for _, v := range []uint32{4, 8, note} {
		b = le.AppendUint32(b, v)
	}
	b = append(b, "Xen\x00\x00\x00\x00\x01\x00\x00\x00\x00"...)
	// Something to compress.
	tail := make([]byte, 32<<10)
	rand.New(rand.NewSource(1)).Read(tail)
	return append(append(b, tail...), make([]byte, 32<<10)...)
}

// fakeBzImage wraps a payload in a boot header.
func fakeBzImage(payload []byte) []byte {
	const sects, offset = 3, 0x40
	b := make([]byte, (sects+1)*sector+offset)
	b[offSetupSects] = sects
	copy(b[offMagic:], "HdrS")
	le := binary.LittleEndian
	le.PutUint16(b[offProtocol:], 0x020f)
	le.PutUint32(b[offPayloadOffset:], offset)
	le.PutUint32(b[offPayloadLength:], uint32(len(payload)))
	return append(append(b, payload...), "trailing data"...)
}

func pack(t testing.TB, open func(io.Writer) (io.WriteCloser, error), data []byte, appendSize bool) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := open(&b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if appendSize {
		return binary.LittleEndian.AppendUint32(b.Bytes(), uint32(len(data)))
	}
	return b.Bytes()
}

func openGzip(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil }

func TestExtractVMLinux(t *testing.T) {
	elf := fakeELF(pvhNote)
	for name, open := range map[string]func(io.Writer) (io.WriteCloser, error){
		"gzip": openGzip,
		"xz":   func(w io.Writer) (io.WriteCloser, error) { return xz.NewWriter(w) },
		"lzma": func(w io.Writer) (io.WriteCloser, error) { return lzma.NewWriter(w) },
		"zstd": func(w io.Writer) (io.WriteCloser, error) {
			return zstd.NewWriter(w, zstd.WithWindowSize(128<<20))
		},
		"lz4": func(w io.Writer) (io.WriteCloser, error) {
			l := lz4.NewWriter(w)
			return l, l.Apply(lz4.LegacyOption(true))
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := extractVMLinux(fakeBzImage(pack(t, open, elf, name != "gzip")))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, elf) {
				t.Errorf("%d bytes, want %d", len(got), len(elf))
			}
		})
	}
}

func TestExtractVMLinuxRefuses(t *testing.T) {
	good := fakeBzImage(pack(t, openGzip, fakeELF(pvhNote), false))
	change := func(at int, b ...byte) []byte {
		c := bytes.Clone(good)
		copy(c[at:], b)
		return c
	}
	lying := pack(t, openGzip, make([]byte, 1<<20), false)
	binary.LittleEndian.PutUint32(lying[len(lying)-4:], 1000)
	for name, tc := range map[string]struct {
		image []byte
		want  string
	}{
		"empty":            {nil, "no boot header"},
		"no magic":         {change(offMagic, 'X'), "no boot header"},
		"old":              {change(offProtocol, 0x07, 0x02), "too old"},
		"cut":              {good[:len(good)/2], "not a whole bzImage"},
		"payload too long": {change(offPayloadLength, 0xff, 0xff, 0xff, 0xff), "not a whole bzImage"},
		"payload too far":  {change(offPayloadOffset, 0xff, 0xff, 0xff, 0xff), "not a whole bzImage"},
		"no payload":       {change(offPayloadLength, 0, 0, 0, 0), "not a whole bzImage"},
		"unknown packing":  {fakeBzImage([]byte("something else\x00\x00\x00\x00")), "unknown way"},
		"bomb":             {fakeBzImage(lying), "unpacks to"},
		"huge":             {fakeBzImage([]byte("\x02\x21\x4c\x18somethi\xff\xff\xff\xff")), "over"},
		"no ELF":           {fakeBzImage(pack(t, openGzip, []byte("text"), false)), "no ELF"},
		"no PVH":           {fakeBzImage(pack(t, openGzip, fakeELF(5), false)), "CONFIG_PVH"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := extractVMLinux(tc.image); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q in it", err, tc.want)
			}
		})
	}
}

func FuzzExtractVMLinux(f *testing.F) {
	f.Add(fakeBzImage(pack(f, openGzip, fakeELF(pvhNote)[:200], false)))
	f.Fuzz(func(_ *testing.T, image []byte) {
		_, _ = extractVMLinux(image)
	})
}
