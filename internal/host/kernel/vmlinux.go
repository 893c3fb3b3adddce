package kernel

import (
	"bytes"
	"compress/bzip2"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz"
	"github.com/ulikunitz/xz/lzma"
)

// maxVMLinux bounds what a kernel may unpack to; Debian's are about 60 MB.
const maxVMLinux = 512 << 20

// Offsets in the x86 boot header (Documentation/arch/x86/boot.rst).
const (
	offSetupSects    = 0x1f1
	offMagic         = 0x202
	offProtocol      = 0x206
	offPayloadOffset = 0x248
	offPayloadLength = 0x24c
	headerEnd        = 0x250
	protocolPayload  = 0x0208 // first with a payload offset
	defaultSects     = 4
	sector           = 512
	pvhNote          = 18 // XEN_ELFNOTE_PHYS32_ENTRY
	elfNoteName      = "Xen"
)

// extractVMLinux returns the ELF kernel that is packed inside a bzImage and
// checks that it can be entered by PVH.
func extractVMLinux(bzImage []byte) ([]byte, error) {
	payload, err := payload(bzImage)
	if err != nil {
		return nil, err
	}
	image, err := unpack(payload)
	if err != nil {
		return nil, err
	}
	if err := checkPVH(image); err != nil {
		return nil, err
	}
	return image, nil
}

// payload is the compressed part of a bzImage.
func payload(b []byte) ([]byte, error) {
	if len(b) < headerEnd || string(b[offMagic:offMagic+4]) != "HdrS" {
		return nil, errors.New("not a bzImage: no boot header")
	}
	if v := binary.LittleEndian.Uint16(b[offProtocol:]); v < protocolPayload {
		return nil, fmt.Errorf("boot protocol %#x is too old", v)
	}
	sects := int64(b[offSetupSects])
	if sects == 0 {
		sects = defaultSects
	}
	start := (sects+1)*sector + int64(binary.LittleEndian.Uint32(b[offPayloadOffset:]))
	end := start + int64(binary.LittleEndian.Uint32(b[offPayloadLength:]))
	if end > int64(len(b)) || end-start < 8 {
		return nil, fmt.Errorf("not a whole bzImage: its payload is bytes %d to %d of %d", start, end, len(b))
	}
	return b[start:end], nil
}

// unpack decompresses a payload by its magic. All formats but gzip are
// followed by the unpacked size; gzip has it as its own last field.
func unpack(p []byte) ([]byte, error) {
	size := int64(binary.LittleEndian.Uint32(p[len(p)-4:]))
	if size > maxVMLinux {
		return nil, fmt.Errorf("payload says it unpacks to %d bytes, over %d", size, maxVMLinux)
	}
	body := bytes.NewReader(p[:len(p)-4])
	var r io.Reader
	var err error
	switch {
	case bytes.HasPrefix(p, []byte{0x1f, 0x8b}):
		r, err = gzip.NewReader(bytes.NewReader(p))
	case bytes.HasPrefix(p, []byte{0xfd, '7', 'z', 'X', 'Z', 0}):
		r, err = xz.NewReader(body)
	case bytes.HasPrefix(p, []byte{0x02, 0x21, 0x4c, 0x18}):
		r = lz4.NewReader(body)
	case bytes.HasPrefix(p, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		var d *zstd.Decoder
		// Kernels are packed with the largest window zstd has.
		d, err = zstd.NewReader(body, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxVMLinux), zstd.WithDecoderMaxWindow(maxVMLinux))
		if err == nil {
			defer d.Close()
			r = d
		}
	case bytes.HasPrefix(p, []byte("BZh")):
		r = bzip2.NewReader(body)
	case bytes.HasPrefix(p, []byte{0x5d, 0, 0}):
		r, err = lzma.NewReader(body)
	default:
		return nil, fmt.Errorf("payload is packed in an unknown way (it starts with % x)", p[:6])
	}
	if err != nil {
		return nil, fmt.Errorf("cannot unpack payload: %v", err)
	}
	out := bytes.NewBuffer(make([]byte, 0, size+bytes.MinRead))
	n, err := io.Copy(out, io.LimitReader(r, size+1))
	if err != nil {
		return nil, fmt.Errorf("cannot unpack payload: %v", err)
	}
	if n != size {
		return nil, fmt.Errorf("payload unpacks to %d bytes, not to the %d it says", n, size)
	}
	return out.Bytes(), nil
}

// checkPVH looks for the note that names the PVH entry point.
func checkPVH(image []byte) error {
	f, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return fmt.Errorf("payload is no ELF kernel: %v", err)
	}
	defer f.Close()
	if f.Machine != elf.EM_X86_64 {
		return fmt.Errorf("kernel is for %v, not x86-64", f.Machine)
	}
	for _, prog := range f.Progs {
		if prog.Type != elf.PT_NOTE || prog.Filesz > 1<<20 {
			continue
		}
		notes := make([]byte, prog.Filesz)
		if _, err := prog.ReadAt(notes, 0); err != nil {
			return fmt.Errorf("cannot read the kernel's notes: %v", err)
		}
		if hasNote(notes, elfNoteName, pvhNote) {
			return nil
		}
	}
	return errors.New("kernel has no PVH entry (CONFIG_PVH)")
}

// hasNote walks ELF notes: name size, description size, type, then both
// padded to four bytes.
func hasNote(b []byte, name string, kind uint32) bool {
	for len(b) >= 12 {
		nameSize := uint64(binary.LittleEndian.Uint32(b))
		descSize := uint64(binary.LittleEndian.Uint32(b[4:]))
		found := binary.LittleEndian.Uint32(b[8:])
		total := 12 + (nameSize+3)&^3 + (descSize+3)&^3
		if total > uint64(len(b)) {
			return false
		}
		if found == kind && nameSize == uint64(len(name)+1) && string(b[12:12+len(name)]) == name {
			return true
		}
		b = b[total:]
	}
	return false
}
