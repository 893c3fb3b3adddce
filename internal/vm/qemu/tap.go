//go:build linux

package qemu

import (
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"sandlot/internal/vm"
	"sandlot/internal/vm/launch"
)

// openTaps opens the existing tap of each NIC inside the namespace. QEMU gets
// the descriptors: where /dev/net/tun belongs to root alone, its own user
// could not open them.
func openTaps(netns string, nics []vm.NIC) ([]*os.File, error) {
	var taps []*os.File
	err := launch.InNetNS(netns, func() error {
		for _, nic := range nics {
			// TUNSETIFF would make a tap that is not there, on no bridge.
			if _, err := net.InterfaceByName(nic.Tap); err != nil {
				return fmt.Errorf("cannot open tap %q: %v", nic.Tap, err)
			}
			tap, err := openTap(nic.Tap, 0)
			if errors.Is(err, unix.EINVAL) {
				tap, err = openTap(nic.Tap, unix.IFF_MULTI_QUEUE)
			}
			if err != nil {
				return fmt.Errorf("cannot open tap %q: %v", nic.Tap, err)
			}
			taps = append(taps, tap)
		}
		return nil
	})
	if err != nil {
		closeAll(taps)
		return nil, err
	}
	return taps, nil
}

func openTap(name string, flags uint16) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	request, err := unix.NewIfreq(name)
	if err == nil {
		// A header for offloads on each packet: QEMU expects it of virtio-net.
		request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR | flags)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), "tap "+name), nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
