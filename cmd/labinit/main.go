// labinit is the first process of every machine, and stays as its agent.
package main

import (
	"fmt"
	"os"

	"sandlot/guest/agent"
	"sandlot/guest/labinit"
)

func main() {
	switch {
	case os.Args[0] == agent.SupervisorName && len(os.Args) == 2:
		agent.Supervise(os.Args[1])
	case os.Args[0] == agent.MainName && len(os.Args) == 2:
		agent.Main(os.Args[1], labinit.CreditEntropy)
	case os.Args[0] == agent.HelperName && len(os.Args) == 3:
		if err := agent.HelperMain(os.Args[1], os.Args[2], os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case os.Getpid() == 1:
		labinit.Main()
	default:
		fmt.Fprintln(os.Stderr, "labinit is the first process of a Sandlot machine; it is not run by hand")
		os.Exit(2)
	}
}
