package manifest

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
)

var sizePattern = regexp.MustCompile(`^([0-9]{1,9}(?:\.[0-9]{1,9})?) ?([kmgtKMGT])(?:[iI]?[bB]|[iI])?$`)

// ParseSize reads a size like "512MiB", "4G", "4Gi", "10GIB" or "1.5GiB" and
// returns bytes, rounded down to whole KiB. G, Gi, GB and GiB all mean GiB.
func ParseSize(s string) (int64, error) {
	match := sizePattern.FindStringSubmatch(s)
	if match == nil {
		return 0, fmt.Errorf("%q is not a size", s)
	}
	number, err := strconv.ParseFloat(match[1], 64)
	if err != nil {
		return 0, fmt.Errorf("%q is not a size", s)
	}
	// In KiB: at most 1e9 TiB, which a float64 and an int64 both hold.
	kib := number * math.Pow(1024, float64(strings.Index("kmgt", strings.ToLower(match[2]))))
	if kib >= 1<<52 {
		return 0, fmt.Errorf("%q is too big", s)
	}
	return int64(kib) << 10, nil
}

// FormatSize prints bytes in the largest unit that leaves a whole number.
func FormatSize(bytes int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	i := 0
	for i < len(units)-1 && bytes != 0 && bytes%1024 == 0 {
		bytes /= 1024
		i++
	}
	return strconv.FormatInt(bytes, 10) + units[i]
}
