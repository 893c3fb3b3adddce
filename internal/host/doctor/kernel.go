package doctor

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// networkChecks builds in a network namespace of its own what a play's
// network is made of. The namespace goes away with the thread that holds it.
func networkChecks() []Check {
	result := make(chan []Check)
	go func() {
		// Never unlocked: the thread ends with this goroutine, and with it
		// the namespace.
		runtime.LockOSThread()
		result <- inNamespace()
	}()
	return <-result
}

func inNamespace() []Check {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return []Check{
			fail("netns", "cannot make a network namespace: "+err.Error(), "run it as root, on a kernel with CONFIG_NET_NS"),
			fail("tun", "not tried", "mend netns first"),
			fail("nft", "not tried", "mend netns first"),
		}
	}
	return []Check{bridgeCheck(), tunCheck(), nftCheck()}
}

func bridgeCheck() Check {
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}}
	if err := netlink.LinkAdd(bridge); err != nil {
		return fail("netns", "made one, but no bridge in it: "+err.Error(), "modprobe bridge")
	}
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "up0"}, PeerName: "up1"}
	if err := netlink.LinkAdd(veth); err != nil {
		return fail("netns", "made one, but no veth pair in it: "+err.Error(), "modprobe veth")
	}
	return ok("netns", "made and removed one, with a bridge and a veth pair")
}

func tunCheck() Check {
	f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENODEV) {
		return fail("tun", "no /dev/net/tun", "modprobe tun")
	}
	if err != nil {
		return fail("tun", err.Error(), "run it as root")
	}
	defer f.Close()
	ifr, err := unix.NewIfreq("tap0")
	if err != nil {
		return fail("tun", err.Error(), "report this")
	}
	ifr.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	if err := unix.IoctlIfreq(int(f.Fd()), unix.TUNSETIFF, ifr); err != nil {
		return fail("tun", "cannot make a tap: "+err.Error(), "run it as root")
	}
	return ok("tun", "made and removed a tap")
}

// nftCheck installs what plays install: a NAT chain with a masquerade rule
// and a filter that tracks connections and bounds them.
func nftCheck() Check {
	conn, err := nftables.New()
	if err != nil {
		return fail("nft", "cannot talk to nf_tables: "+err.Error(), "modprobe nf_tables")
	}
	table := conn.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: "doctor"})
	nat := conn.AddChain(&nftables.Chain{
		Name: "nat", Table: table, Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource,
	})
	conn.AddRule(&nftables.Rule{Table: table, Chain: nat, Exprs: []expr.Any{&expr.Masq{}}})
	filter := conn.AddChain(&nftables.Chain{
		Name: "filter", Table: table, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityFilter,
	})
	conn.AddRule(&nftables.Rule{Table: table, Chain: filter, Exprs: []expr.Any{
		&expr.Ct{Key: expr.CtKeySTATE, Register: 1},
		&expr.Limit{Type: expr.LimitTypePkts, Rate: 1, Unit: expr.LimitTimeSecond},
		&expr.Connlimit{Count: 1}, &expr.Verdict{Kind: expr.VerdictAccept},
	}})
	if err := conn.Flush(); err != nil {
		return fail("nft", "cannot set rules up: "+err.Error(), "modprobe -a nf_tables nft_chain_nat nft_masq nft_ct nft_limit nft_connlimit")
	}
	tables, err := conn.ListTables()
	if err != nil || len(tables) != 1 {
		return fail("nft", fmt.Sprintf("rules are not there after setting them up (%d tables, %v)", len(tables), err), "modprobe nf_tables")
	}
	return ok("nft", "NAT and connection tracking work")
}

// forwardChains lists the host's base chains on the forward hook. iptables
// and firewalld keep theirs in nf_tables too.
func forwardChains() ([]chain, error) {
	conn, err := nftables.New()
	if err != nil {
		return nil, err
	}
	all, err := conn.ListChains()
	if err != nil {
		return nil, err
	}
	families := map[nftables.TableFamily]string{nftables.TableFamilyIPv4: "ip", nftables.TableFamilyINet: "inet"}
	var list []chain
	for _, c := range all {
		family, relevant := families[c.Table.Family]
		if !relevant || c.Hooknum == nil || *c.Hooknum != *nftables.ChainHookForward {
			continue
		}
		list = append(list, chain{
			family: family, table: c.Table.Name, name: c.Name,
			drop: c.Policy != nil && *c.Policy == nftables.ChainPolicyDrop,
		})
	}
	return list, nil
}
