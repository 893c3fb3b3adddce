package image

import (
	"fmt"
	"sync/atomic"
)

// Limits bound what one image may cost the host. The defaults are far above
// any sensible image and far below what would hurt.
type Limits struct {
	// Layers of one image; Docker itself stops at 127.
	Layers int
	// Entries of all layers together. Each costs about 500 bytes of memory.
	Entries int64
	// Bytes of all layers together, uncompressed, holes included.
	Bytes int64
	// Blob is the size of one compressed layer.
	Blob int64
}

const (
	maxName     = 255  // of one path component, in bytes: ext4
	maxPath     = 4096 // of a whole path, in bytes: Linux
	maxDepth    = 512  // components of a path
	maxSymlink  = 4095 // of a target, in bytes: ext4 with 4 KiB blocks
	maxXattrs   = 64 << 10
	maxMajor    = 1<<12 - 1 // Linux device numbers
	maxMinor    = 1<<20 - 1
	maxMetadata = 8 << 20 // of a manifest, index or configuration
)

func (l Limits) withDefaults() Limits {
	if l.Layers == 0 {
		l.Layers = 512
	}
	if l.Entries == 0 {
		l.Entries = 4_000_000
	}
	if l.Bytes == 0 {
		l.Bytes = 256 << 30
	}
	if l.Blob == 0 {
		l.Blob = 128 << 30
	}
	return l
}

// budget is what is left of the limits while layers are read concurrently.
type budget struct {
	limits  Limits
	entries atomic.Int64
	bytes   atomic.Int64
}

func (b *budget) entry() error {
	if b.entries.Add(1) > b.limits.Entries {
		return fmt.Errorf("the image has more than %d entries", b.limits.Entries)
	}
	return nil
}

func (b *budget) spend(n int64) error {
	if b.bytes.Add(n) > b.limits.Bytes {
		return fmt.Errorf("the image is larger than %d bytes uncompressed", b.limits.Bytes)
	}
	return nil
}
