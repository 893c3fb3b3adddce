package api

// Where images come from.
const (
	SourceBuilt  = "built"
	SourcePulled = "pulled"
)

// Source is a named image that drives can be made from. Addition.
type Source struct {
	Name string `json:"name"`
	// Distribution is what the image calls itself, like "Debian GNU/Linux 12
	// (bookworm)"; "" until the image is ready.
	Distribution string `json:"distribution,omitempty"`
	// Digest of the image's configuration, "sha256:…"; "" if it is not here.
	Digest string `json:"digest,omitempty"`
	// SizeBytes is what the image takes as it is stored, compressed.
	SizeBytes int64 `json:"sizeBytes"`
	// MinDriveBytes is the least size of a drive made from it; 0 until the
	// image is ready.
	MinDriveBytes int64 `json:"minDriveBytes,omitempty"`
	// From is "built" or "pulled"; "" if the image is not here.
	From string `json:"from,omitempty"`
	// Recipe tells whether labd has what it is built from: a job of kind build
	// makes it, also in place of one that was pulled under its name.
	Recipe bool `json:"recipe,omitempty"`
	// Users are those with a shell, root first; empty until the image is ready.
	Users []string `json:"users"`
	// Kernels are the versions its drives are made for already.
	Kernels []string `json:"kernels"`
	// Ready tells whether a machine starts from it without anything being
	// pulled, built or converted first.
	Ready bool `json:"ready"`
}

// KernelVersion is a kernel that machines can boot. Addition.
type KernelVersion struct {
	Version string `json:"version"` // "6.1", as in manifests
	// Release is like uname -r; "" if the kernel is not here.
	Release   string `json:"release,omitempty"`
	SizeBytes int64  `json:"sizeBytes"`
	// Default is the one of machines that name none.
	Default bool `json:"default,omitempty"`
	// Ready tells whether it is on this host.
	Ready bool `json:"ready"`
}

// Backend is a VMM that manifests may ask for. Addition.
type Backend struct {
	Name string `json:"name"`
	// Ready tells whether this host runs machines with it; else another takes
	// its place, with a note, or the start is refused if labd is strict.
	Ready bool `json:"ready"`
}
