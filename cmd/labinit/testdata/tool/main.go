// tool is the only program in the tiny image that the boot test makes.
package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"syscall"
	"time"
)

func main() {
	args := os.Args[1:]
	switch args[0] {
	case "cat":
		for _, name := range args[1:] {
			f, err := os.Open(name)
			fail(err)
			io.Copy(os.Stdout, f)
		}
	case "stat":
		for _, name := range args[1:] {
			info, err := os.Lstat(name)
			fail(err)
			st := info.Sys().(*syscall.Stat_t)
			fmt.Println(name, info.Mode(), st.Uid, st.Gid)
		}
	case "id":
		groups, _ := os.Getgroups()
		dir, _ := os.Getwd()
		fmt.Println(os.Getuid(), os.Getgid(), groups, dir)
	case "size": // MiB of the filesystem of a folder
		var st syscall.Statfs_t
		fail(syscall.Statfs(args[1], &st))
		fmt.Println(int64(st.Blocks) * st.Bsize >> 20)
	case "mount": // device, folder, filesystem
		fail(os.MkdirAll(args[2], 0o755))
		fail(syscall.Mount(args[1], args[2], args[3], 0, ""))
	case "write": // file, text
		fail(os.WriteFile(args[1], []byte(args[2]), 0o644))
	case "kill":
		pid, err := strconv.Atoi(args[1])
		fail(err)
		fail(syscall.Kill(pid, syscall.SIGKILL))
	case "parent":
		fmt.Println(os.Getppid())
	case "sleep":
		fmt.Println("sleeping")
		time.Sleep(time.Hour)
	}
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
