package vm

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// ConsoleFile in Spec.Dir is what the guest printed on its console, all boots
// of this VMM one after another. ConsoleOldFile is what was cut from its
// front when it grew over a driver's limit.
const (
	ConsoleFile    = "console.log"
	ConsoleOldFile = "console.old.log"
)

// BootMarker starts the line that labinit prints first; the boot id follows.
const BootMarker = "labinit: boot "

// kernelBanner is the kernel's first line; under "quiet" it is not printed.
const kernelBanner = "Linux version "

// maxConsole bounds what ReadConsole returns of each file, in bytes.
const maxConsole = 16 << 20

// ReadConsole gives the kept console of a run directory, oldest byte first,
// bounded; nothing if there is none. It is text of the guest: data, never to
// be trusted or sent to a terminal as it is.
func ReadConsole(dir string) ([]byte, error) {
	var console []byte
	for _, name := range []string{ConsoleOldFile, ConsoleFile} {
		part, err := readEnd(filepath.Join(dir, name), maxConsole)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("cannot read console: %v", err)
		}
		console = append(console, part...)
	}
	return console, nil
}

func readEnd(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	offset := max(0, info.Size()-limit)
	return io.ReadAll(io.NewSectionReader(f, offset, limit))
}

// SplitBoots cuts a kept console into boots, oldest first. A boot starts with
// the kernel's banner if that is printed, else with labinit's marker line.
// What stands before the first start (firmware) belongs to the first boot.
func SplitBoots(console []byte) [][]byte {
	var starts []int
	// bannerOpen: the last start was a banner whose marker has not come yet.
	bannerOpen := false
	for at := 0; at < len(console); {
		line := console[at:]
		next := len(console)
		if end := bytes.IndexByte(line, '\n'); end >= 0 {
			line, next = line[:end], at+end+1
		}
		switch {
		case isBanner(line):
			starts, bannerOpen = append(starts, at), true
		case bytes.HasPrefix(line, []byte(BootMarker)):
			if !bannerOpen {
				starts = append(starts, at)
			}
			bannerOpen = false
		}
		at = next
	}
	if len(console) == 0 {
		return nil
	}
	if len(starts) == 0 {
		return [][]byte{console}
	}
	boots := make([][]byte, 0, len(starts))
	starts[0] = 0
	for i, start := range starts {
		end := len(console)
		if i+1 < len(starts) {
			end = starts[i+1]
		}
		boots = append(boots, console[start:end])
	}
	return boots
}

// isBanner takes "Linux version …" with or without the time stamp in front,
// and nothing else: the phrase also occurs inside other lines.
func isBanner(line []byte) bool {
	if bytes.HasPrefix(line, []byte("[")) {
		_, rest, ok := bytes.Cut(line, []byte("] "))
		if !ok {
			return false
		}
		line = rest
	}
	return bytes.HasPrefix(line, []byte(kernelBanner))
}

// Tail gives the last n lines of a console, without what is not printable.
// Its length is at most 200 bytes a line.
func Tail(console []byte, n int) string {
	const widest = 200
	console = bytes.TrimRight(console, "\r\n \x00")
	lines := bytes.Split(console[max(0, len(console)-n*4*widest):], []byte("\n"))
	var out bytes.Buffer
	for _, line := range lines[max(0, len(lines)-n):] {
		line = bytes.TrimRight(line, "\r")
		if len(line) > widest {
			line = line[:widest]
		}
		for _, b := range line {
			if b == '\t' {
				b = ' '
			}
			if b >= ' ' && b < 0x7f {
				out.WriteByte(b)
			}
		}
		out.WriteByte('\n')
	}
	return string(bytes.TrimRight(out.Bytes(), "\n"))
}
