package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sandlot/api"
	"sandlot/guest/initramfs"
	"sandlot/internal/account"
	"sandlot/internal/admin"
	"sandlot/internal/bender"
	"sandlot/internal/control"
	"sandlot/internal/gateway"
	"sandlot/internal/host/dns"
	"sandlot/internal/host/image"
	"sandlot/internal/host/kernel"
	"sandlot/internal/host/layout"
	"sandlot/internal/host/netns"
	"sandlot/internal/host/registry"
	"sandlot/internal/host/volume"
	"sandlot/internal/plan"
	"sandlot/internal/play"
	"sandlot/internal/server"
	"sandlot/internal/session"
	"sandlot/internal/step"
	"sandlot/internal/store"
	"sandlot/internal/vm"
	"sandlot/internal/vm/launch"
	"sandlot/internal/vm/qemu"
	"sandlot/internal/web"
	"sandlot/playgrounds"
)

// settings are what a person chooses about `labd up`.
type settings struct {
	layout layout.Layout
	listen string
	public string
	// domain is where exposed ports live: <id>.domain, with a port if clients
	// need one; "" is localhost with the API's port.
	domain string
	certificates
	signIn
	accel  string // "auto", "kvm" or "tcg"
	strict bool
	// resolvConf is a resolv.conf(5): whom to ask for names of the internet.
	resolvConf string
	poolSize   int64
	budget     control.Budget
	// plans are what users may have.
	plans       *plansFlag
	defaultPlan string
	// registryName is another name of every play's registry; may be empty.
	registryName string
	registrySize int64
	labinit      string
	hook         func(step.Point, string)
	log          *slog.Logger
	// report tells these settings to administrators.
	report func() (api.SettingsReport, error)
}

// daemon is everything of a running labd.
type daemon struct {
	settings
	pool     *volume.Pool
	images   *image.Store
	kernels  kernels
	networks *networks
	driver   *qemu.Driver
	store    *store.Store
	bender   *bender.Bender
	control  *control.Control
	accounts *account.Accounts
	gateway  *gateway.Gateway
	admin    *admin.Admin
	server   *server.Server
	// recovered is closed when bender has taken over what runs.
	recovered chan struct{}
}

// assemble makes a daemon: this is the one place that names every adapter.
func assemble(ctx context.Context, s settings) (d *daemon, err error) {
	d = &daemon{settings: s, recovered: make(chan struct{})}
	defer func() {
		if err != nil {
			d.close()
		}
	}()
	if d.pool, err = volume.Open(ctx, poolOptions(s.layout, s.poolSize)); err != nil {
		return d, err
	}
	if d.images, err = openImages(s.layout); err != nil {
		return d, err
	}
	d.kernels = kernels{layout: s.layout, store: kernelStore(s.layout), labinit: s.labinit}
	verdict, err := d.accelerator(ctx)
	if err != nil {
		return d, err
	}
	d.driver = qemu.New(qemu.Options{KVM: verdict.KVM, CPU: verdict.CPU, Log: s.log})
	registry.LogTo(s.log)
	d.networks = newNetworks(s.layout, s.log)
	d.networks.upstreams = dns.HostUpstreams(s.resolvConf)
	if d.networks.registries, err = newRegistries(s, d.pool.CheckRoom); err != nil {
		return d, err
	}
	if err = d.networks.manager.EnsureHost(ctx); err != nil {
		return d, err
	}
	if err = d.networks.removeNamelessLinks(ctx); err != nil {
		return d, err
	}
	if d.store, err = store.Open(ctx, s.layout.State()); err != nil {
		return d, err
	}
	d.accounts = account.New(d.store)
	hostBoot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return d, fmt.Errorf("cannot read this host's boot id: %w", err)
	}
	figures := newRegistry()
	starts := newStarts(figures)
	d.bender = bender.New(ctx, bender.Options{
		Layout: s.layout, Records: records{d.store}, Networks: d.networks,
		Volumes: d.volumes(), Kernels: d.kernels,
		Drivers: map[string]vm.Driver{backendQEMU: d.driver},
		Attach: func(dial func(context.Context) (net.Conn, error)) bender.Agent {
			return session.New(dial)
		},
		Initramfs:      initramfs.Machine,
		CACertificates: []string{d.networks.registries.authority.Certificate()},
		Strays:         strays(s.layout, d.networks, d.pool.Delete),
		HostBoot:       strings.TrimSpace(string(hostBoot)),
		Gone: func(id play.ID) {
			d.gateway.Revoke(id)
			d.server.Revoke(id)
		},
		Entered: starts.entered,
		Runner:  step.Runner{Hook: s.hook},
		Log:     s.log,
	})
	d.control, err = control.New(control.Options{
		Store: d.store, Bender: d.bender, Pool: d.volumes(), Budget: s.budget, Plans: s.plans.plans, DefaultPlan: s.defaultPlan,
		Log: s.log, Facts: d.facts, Uplinks: d.uplinks, Usage: machines{bender: d.bender}.usage,
		CheckSource: d.checkSource, Bases: playgrounds.Names, ReadBase: playgrounds.Read,
	})
	if err != nil {
		return d, err
	}
	d.admin = d.administration(ctx, verdict.KVM)
	d.gateway = gateway.New(machines{d.bender, d.networks})
	provider, err := s.provider()
	if err != nil {
		return d, err
	}
	page, err := web.New(web.Built())
	if err != nil {
		return d, err
	}
	d.server = server.New(server.Options{
		Page:           page,
		Administration: d.admin, Accounts: d.accounts, Provider: provider, SingleUser: s.singleUser, TrustedProxies: s.trustedProxies(),
		Auth: d.accounts, Playgrounds: d.control, Plays: d.control, Lifecycle: d.control,
		Settings: d.control, Budgets: d.control, Saver: d.control, Machines: d.control, Gateway: d.gateway, References: references{d.control, d},
		PublicURL: s.public, Domain: s.domain, Log: s.log, Registry: figures, Recovered: d.recovered,
		Checks: []server.Check{{Name: "store", Probe: d.store.Check}, {Name: "pool", Probe: d.poolMounted}},
		Ports:  d.control, Shells: d.control, Forwards: d.control, Visitors: d.gateway, Scanner: d.gateway,
	})
	figures.MustRegister(levels{count: d.bender.Count, pool: d.pool.Usage})
	return d, nil
}

func (d *daemon) volumes() volumes { return volumes{d.images, d.pool, d.layout} }

// poolMounted tells whether volumes are where labd put them.
func (d *daemon) poolMounted(context.Context) error {
	state, err := volume.Inspect(poolOptions(d.layout, d.poolSize))
	if err == nil && !state.Ready {
		err = fmt.Errorf("the pool is not mounted: %s", state.Info)
	}
	return err
}

// close lets go of everything; machines go on.
func (d *daemon) close() {
	if d.gateway != nil {
		d.gateway.Close()
	}
	if d.admin != nil {
		d.admin.Wait()
	}
	if d.bender != nil {
		d.bender.Wait()
	}
	if d.networks != nil {
		d.networks.close()
	}
	if d.driver != nil {
		_ = d.driver.Close()
	}
	if d.store != nil {
		_ = d.store.Close()
	}
	if d.images != nil {
		_ = d.images.Close()
	}
}

const backendQEMU = "qemu"

func poolOptions(l layout.Layout, size int64) volume.Options {
	return volume.Options{Dir: l.Pool(), ImageFile: l.PoolImage(), Size: size}
}

func newNetworks(l layout.Layout, log *slog.Logger) *networks {
	return &networks{
		layout: l, log: log, servers: make(map[play.ID]func()),
		manager: &netns.Manager{
			Table: l.Table(), UplinkPrefix: l.UplinkPrefix(), NSPrefix: l.NetNSPrefix(),
			Services: []netns.Service{registryService},
		},
	}
}

func kernelStore(l layout.Layout) *kernel.Store { return &kernel.Store{Dir: l.Kernels()} }

func openImages(l layout.Layout) (*image.Store, error) {
	kernels := kernelStore(l)
	return image.Open(image.Options{
		Dir: l.Images(), Bases: l.Bases(), Staging: l.Staging(), Recipes: recipes(),
		Kernel: func(_ context.Context, version string) (image.Kernel, error) {
			k, err := kernels.Get(version)
			if err != nil {
				return image.Kernel{}, err
			}
			return image.Kernel{Version: k.Version, Release: k.Release, ModulesDir: k.Modules(), BootDir: k.Boot()}, nil
		},
	})
}

// strays are all the kinds of things that plays leave on a host.
func strays(l layout.Layout, n *networks, remove func(path string) error) []bender.Strays {
	return []bender.Strays{
		processes{layout: l},
		n,
		folders{root: l.Volumes(), remove: remove},
		folders{root: l.Plays(), remove: os.RemoveAll},
	}
}

const withoutKVM = "machines run without KVM: slower, and without an isolation guarantee; let in only people you trust"

// accelerator decides between KVM and TCG, by a probe boot unless told.
func (d *daemon) accelerator(ctx context.Context) (qemu.Verdict, error) {
	switch d.accel {
	case "kvm":
		return qemu.Verdict{KVM: true, Known: true}, nil
	case "tcg":
		d.log.Warn(withoutKVM, "why", "--accel tcg")
		return qemu.Verdict{Known: true, Detail: "not asked for"}, nil
	}
	v, err := probe(ctx, d.layout, d.kernels)
	if err == nil && !v.KVM {
		d.log.Warn(withoutKVM, "why", v.Detail)
	}
	return v, err
}

// probe boots the newest kernel of the store under KVM.
func probe(ctx context.Context, l layout.Layout, k kernels) (qemu.Verdict, error) {
	p := qemu.Prober{Dir: l.Root, Cache: l.Probe(), UID: probeUID, GID: probeUID}
	list, err := k.store.List()
	if err != nil {
		return qemu.Verdict{}, err
	}
	if len(list) > 0 {
		var archives []string
		if p.Kernel, archives, err = k.Get(ctx, list[len(list)-1].Version, nil); err != nil {
			return qemu.Verdict{}, err
		}
		p.Initramfs = archives[0]
	}
	return p.Probe(ctx)
}

// probeUID is below every machine's user and above every person's.
const probeUID = 1_599_999_999

func (d *daemon) facts(context.Context) (plan.Facts, error) {
	list, err := d.kernels.store.List()
	if err != nil {
		return plan.Facts{}, err
	}
	c := d.driver.Capabilities()
	f := plan.Facts{
		Backends: map[string]plan.BackendFacts{backendQEMU: {MaxDrives: c.MaxDrives, MaxNICs: c.MaxNICs, Preference: 10}},
		Strict:   d.strict,
	}
	for _, k := range list {
		f.Kernels = append(f.Kernels, k.Version)
	}
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return f, fmt.Errorf("cannot read this host's memory: %w", err)
	}
	// The host and the page cache need the rest. Machines of a play share CPUs
	// in time, so together they may have more than there are.
	f.MaxMemoryMiB = int(info.Totalram * uint64(info.Unit) >> 20 * 3 / 4)
	f.PlayMemoryMiB = f.MaxMemoryMiB
	f.MaxCPUs = runtime.NumCPU()
	return f, nil
}

// uplinks lists the uplinks in use on this host, those of other labds included.
func (d *daemon) uplinks(ctx context.Context) (func(index int) bool, error) {
	used, err := d.networks.manager.UsedUplinks(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot list the host's uplinks: %w", err)
	}
	return func(index int) bool {
		pool := netns.UplinkPool.Addr().As4()
		first := binary.BigEndian.Uint32(pool[:]) + uint32(2*index)
		for _, p := range used {
			for i := range uint32(2) {
				var a [4]byte
				binary.BigEndian.PutUint32(a[:], first+i)
				if p.Contains(netip.AddrFrom4(a)) {
					return true
				}
			}
		}
		return false
	}, nil
}

// checkSource refuses a named image the store lacks; images from registries
// are pulled at the start.
func (d *daemon) checkSource(_ context.Context, source string) error {
	if strings.Contains(source, "://") {
		return nil
	}
	_, err := d.images.Lookup(source)
	return err
}

// kernels adds the initramfs that machines of one kernel share.
type kernels struct {
	layout  layout.Layout
	store   *kernel.Store
	labinit string
}

func (k kernels) Get(_ context.Context, version string, filesystems []string) (vm.Kernel, []string, error) {
	found, err := k.store.Get(version)
	if err != nil {
		return vm.Kernel{}, nil, err
	}
	labinit, err := os.ReadFile(k.labinit)
	if err != nil {
		return vm.Kernel{}, nil, fmt.Errorf("cannot read labinit: %w; it is built beside labd, or named by --labinit", err)
	}
	sum := sha256.Sum256(labinit)
	boot := vm.Kernel{BzImage: found.BzImage(), VMLinux: found.VMLinux()}
	key := found.Key() + "-" + hex.EncodeToString(sum[:8])
	archives := []string{k.layout.SharedInitramfs(key)}
	err = makeOnce(archives[0], func(w io.Writer) error { return initramfs.Shared(w, labinit, found.Modules()) })
	if err == nil && len(filesystems) > 0 {
		path := k.layout.SharedInitramfs(key + "-" + strings.Join(filesystems, "-"))
		archives = append(archives, path)
		err = makeOnce(path, func(w io.Writer) error { return initramfs.Filesystems(w, found.Modules(), filesystems) })
	}
	return boot, archives, err
}

// makeOnce writes a file that stays as it is once it is there.
func makeOnce(path string, write func(w io.Writer) error) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	return writeFile(path, write)
}

// writeFile writes a file whole or not at all.
func writeFile(path string, write func(w io.Writer) error) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o711); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	if err := errors.Join(write(f), f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// records adapts the store to bender.
type records struct{ *store.Store }

func (r records) Plays(ctx context.Context) ([]bender.Record, error) {
	rows, err := r.BenderPlays(ctx)
	if err != nil {
		return nil, err
	}
	all := make([]bender.Record, len(rows))
	for i, row := range rows {
		if err := json.Unmarshal(row.Record, &all[i]); err != nil {
			return nil, fmt.Errorf("cannot read record of play %q: %w", row.ID, err)
		}
	}
	return all, nil
}

func (r records) Put(ctx context.Context, record bender.Record) error {
	body, err := json.Marshal(record)
	if err != nil {
		return err
	}
	return r.PutBenderPlay(ctx, store.BenderPlay{ID: record.Plan.Play, Goal: string(record.Goal), Record: body})
}

func (r records) Delete(ctx context.Context, id play.ID) error { return r.DeleteBenderPlay(ctx, id) }

func (r records) Tasks(id play.ID) bender.TaskRecords { return taskRecords{r.Store, id} }

type taskRecords struct {
	store *store.Store
	id    play.ID
}

func (t taskRecords) All(ctx context.Context) ([]play.TaskStatus, error) {
	rows, err := t.store.BenderTasks(ctx, t.id)
	if err != nil {
		return nil, err
	}
	all := make([]play.TaskStatus, len(rows))
	for i, row := range rows {
		if err := json.Unmarshal(row, &all[i]); err != nil {
			return nil, fmt.Errorf("cannot read a task of play %q: %w", t.id, err)
		}
	}
	return all, nil
}

func (t taskRecords) Put(ctx context.Context, s play.TaskStatus) error {
	body, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return t.store.PutBenderTask(ctx, t.id, s.Name, body)
}

// housekeep runs until ctx ends.
func (d *daemon) housekeep(ctx context.Context) {
	every(ctx, 30*time.Second, func() {
		if err := d.tidyAccounts(ctx); err != nil {
			d.log.Error("cannot tidy accounts", "error", err)
		}
		// A reload of the host's firewall removes our rules, and without
		// them plays reach the host.
		if err := d.networks.manager.EnsureHost(ctx); err != nil {
			d.log.Error("cannot keep the host's rules", "error", err)
		}
	})
}

// watchClocks ends plays whose time is up, until ctx ends.
func (d *daemon) watchClocks(ctx context.Context) {
	every(ctx, 2*time.Second, func() {
		if err := d.control.Expire(ctx); err != nil && ctx.Err() == nil {
			d.log.Error("cannot end plays", "error", err)
		}
	})
}

// every calls f after each period, until ctx ends.
func every(ctx context.Context, period time.Duration, f func()) {
	tick := time.NewTicker(period)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			f()
		}
	}
}

// tidyAccounts forgets credentials that have expired, and cuts the connections
// into plays of users who are locked out.
func (d *daemon) tidyAccounts(ctx context.Context) error {
	ids, err := d.store.PlaysOfDisabled(ctx)
	for _, id := range ids {
		d.gateway.Revoke(play.ID(id))
		d.server.Revoke(play.ID(id))
	}
	return errors.Join(err, d.accounts.Tidy(ctx))
}

// purge removes everything that a labd with this data directory made.
func purge(ctx context.Context, l layout.Layout, log *slog.Logger) error {
	n := newNetworks(l, log)
	var errs []error
	for _, s := range strays(l, n, os.RemoveAll) {
		ids, err := s.List(ctx)
		errs = append(errs, err)
		for _, id := range ids {
			errs = append(errs, s.Remove(ctx, id))
		}
	}
	cgroups := launch.Cgroups{}
	errs = append(errs, n.removeNamelessLinks(ctx), n.manager.RemoveHost(ctx), cgroups.RemoveParent(l.Cgroup()))
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := volume.Destroy(ctx, poolOptions(l, 0)); err != nil {
		return err
	}
	return os.RemoveAll(l.Root)
}
