package netns

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Ruleset is one table of the inet family. String renders it as `nft list
// table` prints it, so that a golden file reviews what the kernel is told.
type Ruleset struct {
	Table  string
	Chains []Chain
}

// Chain hooks into the kernel's packet path.
type Chain struct {
	Name     string
	Type     string // "filter" or "nat"
	Hook     string // "prerouting", "input", "forward", "postrouting"
	Priority string // "filter", "mangle", "srcnat"
	Drop     bool   // the policy; else accept
	Rules    []Rule
}

// Rule is a list of terms: matches first, then what happens.
type Rule []Term

// Term is one match or statement, as text and as the kernel's expressions.
type Term struct {
	text  string
	exprs []expr.Any
}

func (r Rule) String() string {
	words := make([]string, len(r))
	for i, t := range r {
		words[i] = t.text
	}
	return strings.Join(words, " ")
}

func (s Ruleset) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "table inet %s {\n", s.Table)
	for i, c := range s.Chains {
		if i > 0 {
			b.WriteByte('\n')
		}
		policy := "accept"
		if c.Drop {
			policy = "drop"
		}
		fmt.Fprintf(&b, "\tchain %s {\n\t\ttype %s hook %s priority %s; policy %s;\n", c.Name, c.Type, c.Hook, c.Priority, policy)
		for _, r := range c.Rules {
			fmt.Fprintf(&b, "\t\t%s\n", r)
		}
		b.WriteString("\t}\n")
	}
	b.WriteString("}\n")
	return b.String()
}

var (
	hooks = map[string]*nftables.ChainHook{
		"prerouting":  nftables.ChainHookPrerouting,
		"input":       nftables.ChainHookInput,
		"forward":     nftables.ChainHookForward,
		"postrouting": nftables.ChainHookPostrouting,
	}
	priorities = map[string]*nftables.ChainPriority{
		"mangle": nftables.ChainPriorityMangle,
		"filter": nftables.ChainPriorityFilter,
		"srcnat": nftables.ChainPriorityNATSource,
	}
)

// replace puts the table in place of whatever has its name, in one
// transaction: packets meet the old rules or the new ones, never none.
func (s Ruleset) replace(conn *nftables.Conn) error {
	table := &nftables.Table{Family: nftables.TableFamilyINet, Name: s.Table}
	// Deleting a table that does not exist fails the whole transaction.
	conn.AddTable(table)
	conn.DelTable(table)
	conn.AddTable(table)
	for _, c := range s.Chains {
		policy := nftables.ChainPolicyAccept
		if c.Drop {
			policy = nftables.ChainPolicyDrop
		}
		chain := conn.AddChain(&nftables.Chain{
			Name: c.Name, Table: table, Type: nftables.ChainType(c.Type),
			Hooknum: hooks[c.Hook], Priority: priorities[c.Priority], Policy: &policy,
		})
		for _, r := range c.Rules {
			var exprs []expr.Any
			for _, t := range r {
				exprs = append(exprs, t.exprs...)
			}
			conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: exprs})
		}
	}
	return conn.Flush()
}

func cmp(op expr.CmpOp, data []byte) *expr.Cmp { return &expr.Cmp{Op: op, Register: 1, Data: data} }

func native(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }

// link matches an interface's name; one that ends in "*" matches a prefix.
func link(key expr.MetaKey, word, name string, op expr.CmpOp) Term {
	data := make([]byte, unix.IFNAMSIZ)
	copy(data, name)
	if prefix, ok := strings.CutSuffix(name, "*"); ok {
		data = []byte(prefix)
	}
	if op == expr.CmpOpNeq {
		word += " !="
	}
	return Term{fmt.Sprintf("%s %q", word, name), []expr.Any{&expr.Meta{Key: key, Register: 1}, cmp(op, data)}}
}

func iif(name string) Term    { return link(expr.MetaKeyIIFNAME, "iifname", name, expr.CmpOpEq) }
func oif(name string) Term    { return link(expr.MetaKeyOIFNAME, "oifname", name, expr.CmpOpEq) }
func oifNot(name string) Term { return link(expr.MetaKeyOIFNAME, "oifname", name, expr.CmpOpNeq) }

// ip matches a source or destination address of IPv4 packets.
func ip(word string, offset uint32, p netip.Prefix, op expr.CmpOp) Term {
	p = p.Masked()
	addr := p.Addr().As4()
	exprs := []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
		cmp(expr.CmpOpEq, []byte{unix.NFPROTO_IPV4}),
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: 4},
	}
	text := p.Addr().String()
	if p.Bits() < 32 {
		text = p.String()
		mask := binary.BigEndian.AppendUint32(nil, ^uint32(0)<<(32-p.Bits()))
		exprs = append(exprs, &expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: mask, Xor: make([]byte, 4)})
	}
	if op == expr.CmpOpNeq {
		word += " !="
	}
	return Term{"ip " + word + " " + text, append(exprs, cmp(op, addr[:]))}
}

func saddr(p netip.Prefix) Term    { return ip("saddr", 12, p, expr.CmpOpEq) }
func saddrNot(p netip.Prefix) Term { return ip("saddr", 12, p, expr.CmpOpNeq) }
func daddr(p netip.Prefix) Term    { return ip("daddr", 16, p, expr.CmpOpEq) }

func ipv6() Term {
	return Term{"meta nfproto ipv6", []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1}, cmp(expr.CmpOpEq, []byte{unix.NFPROTO_IPV6})}}
}

// dport matches the destination port of "udp" or "tcp".
func dport(proto string, port uint16) Term {
	number := map[string]byte{"udp": unix.IPPROTO_UDP, "tcp": unix.IPPROTO_TCP}[proto]
	return Term{fmt.Sprintf("%s dport %d", proto, port), []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, cmp(expr.CmpOpEq, []byte{number}),
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		cmp(expr.CmpOpEq, binary.BigEndian.AppendUint16(nil, port))}}
}

// echoRequest matches ping.
func echoRequest() Term {
	return Term{"icmp type echo-request", []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, cmp(expr.CmpOpEq, []byte{unix.IPPROTO_ICMP}),
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 0, Len: 1},
		cmp(expr.CmpOpEq, []byte{8})}}
}

func ctState(word string, bits uint32) Term {
	return Term{"ct state " + word, []expr.Any{
		&expr.Ct{Key: expr.CtKeySTATE, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: native(bits), Xor: native(0)},
		cmp(expr.CmpOpNeq, native(0))}}
}

func established() Term {
	return ctState("established,related", expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED)
}
func invalid() Term { return ctState("invalid", expr.CtStateBitINVALID) }
func isNew() Term   { return ctState("new", expr.CtStateBitNEW) }

// ctMark matches connections that setMark marked.
func ctMark(mark uint32) Term {
	return Term{fmt.Sprintf("ct mark 0x%08x", mark), []expr.Any{
		&expr.Ct{Key: expr.CtKeyMARK, Register: 1}, cmp(expr.CmpOpEq, native(mark))}}
}

func setMark(mark uint32) Term {
	return Term{fmt.Sprintf("ct mark set 0x%08x", mark), []expr.Any{
		&expr.Immediate{Register: 1, Data: native(mark)},
		&expr.Ct{Key: expr.CtKeyMARK, Register: 1, SourceRegister: true}}}
}

// newOver matches new connections beyond a rate, which may be exceeded by
// burst.
func newOver(perSecond, burst uint32) Term {
	return Term{fmt.Sprintf("limit rate over %d/second burst %d packets", perSecond, burst), []expr.Any{
		&expr.Limit{Type: expr.LimitTypePkts, Rate: uint64(perSecond), Unit: expr.LimitTimeSecond, Burst: burst, Over: true}}}
}

// countOver matches once this rule has seen more connections that are still
// open.
func countOver(n uint32) Term {
	return Term{fmt.Sprintf("ct count over %d", n), []expr.Any{
		&expr.Connlimit{Count: n, Flags: expr.NFT_CONNLIMIT_F_INV}}}
}

// toSelf matches packets addressed to this computer.
func toSelf() Term {
	return Term{"fib daddr type local", []expr.Any{
		&expr.Fib{Register: 1, FlagDADDR: true, ResultADDRTYPE: true},
		cmp(expr.CmpOpEq, native(unix.RTN_LOCAL))}}
}

func accept() Term { return Term{"accept", []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}}} }
func drop() Term   { return Term{"drop", []expr.Any{&expr.Verdict{Kind: expr.VerdictDrop}}} }
func masquerade() Term {
	return Term{"masquerade", []expr.Any{&expr.Masq{}}}
}
