package cli

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"
)

// DefaultBaseURL is where labd up listens unless told otherwise.
const DefaultBaseURL = "http://localhost:8484"

// Config is the file of a login, with the reference client's keys. It is
// $XDG_CONFIG_HOME/labctl/config.yaml; where there is none, but the reference
// client's $HOME/.iximiuz/labctl/config.yaml, that one, so that either labctl
// works with it.
type Config struct {
	BaseURL         string `yaml:"base_url"`
	APIBaseURL      string `yaml:"api_base_url"`
	SessionID       string `yaml:"session_id"`
	AccessToken     string `yaml:"access_token"`
	PlaysDir        string `yaml:"plays_dir"`
	SSHIdentityFile string `yaml:"ssh_identity_file"`
	SSHDir          string `yaml:"ssh_dir,omitempty"` // deprecated
	// CAFile is a PEM file of certificates to trust beside the system's. Ours
	// alone.
	CAFile string `yaml:"ca_file,omitempty"`
	// Rest keeps what another version of labctl wrote.
	Rest map[string]any `yaml:",inline"`
}

func (c Config) signedIn() bool { return c.SessionID != "" && c.AccessToken != "" }

func (a *App) home() (string, error) {
	if home := a.Getenv("HOME"); home != "" {
		return home, nil
	}
	return "", errors.New("cannot find the config file: HOME is not set")
}

// referenceDir is the reference client's folder below HOME.
const referenceDir = ".iximiuz/labctl"

// xdg is a folder of the XDG Base Directory Specification; relative values of
// its variable are ignored, as that asks.
func (a *App) xdg(variable, below string) (string, error) {
	if dir := a.Getenv(variable); filepath.IsAbs(dir) {
		return filepath.Join(dir, "labctl"), nil
	}
	home, err := a.home()
	return filepath.Join(home, below, "labctl"), err
}

// configPath is the file to read and to write, and whether it is the reference
// client's.
func (a *App) configPath() (path string, reference bool, err error) {
	dir, err := a.xdg("XDG_CONFIG_HOME", ".config")
	if err != nil {
		return "", false, err
	}
	own := filepath.Join(dir, "config.yaml")
	home, err := a.home()
	if err != nil {
		return own, false, nil // XDG_CONFIG_HOME does without
	}
	theirs := filepath.Join(home, referenceDir, "config.yaml")
	if _, err := os.Stat(own); !errors.Is(err, fs.ErrNotExist) {
		return own, false, nil
	}
	if _, err := os.Stat(theirs); err == nil {
		return theirs, true, nil
	}
	return own, false, nil
}

// storedConfig is the file with its defaults, before environment and flags.
func (a *App) storedConfig() (Config, error) {
	home, err := a.home()
	if err != nil {
		return Config{}, err
	}
	key := filepath.Join(home, ".ssh", "iximiuz_labs_user")
	defaults := Config{
		BaseURL:         DefaultBaseURL,
		APIBaseURL:      DefaultBaseURL + "/api",
		SSHIdentityFile: key,
	}
	path, reference, err := a.configPath()
	if err != nil {
		return Config{}, err
	}
	state, err := a.xdg("XDG_STATE_HOME", ".local/state")
	if err != nil {
		return Config{}, err
	}
	if defaults.PlaysDir = filepath.Join(state, "plays"); reference {
		defaults.PlaysDir = filepath.Join(home, referenceDir, "plays")
	}
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return defaults, nil
	}
	if err != nil {
		return Config{}, fmt.Errorf("cannot read config file: %v", err)
	}
	var cfg Config
	if err := yaml.Unmarshal(raw, &cfg); err != nil {
		a.say(false, "labctl: the config file %s is ignored: %v", path, err)
		return defaults, nil
	}
	if cfg.BaseURL == "" {
		cfg.BaseURL = strings.TrimSuffix(cfg.APIBaseURL, "/api")
	}
	if cfg.APIBaseURL == "" && cfg.BaseURL != "" {
		cfg.APIBaseURL = cfg.BaseURL + "/api"
	}
	if cfg.PlaysDir == "" {
		cfg.PlaysDir = defaults.PlaysDir
	}
	if cfg.SSHIdentityFile == "" {
		if cfg.SSHIdentityFile = key; cfg.SSHDir != "" {
			cfg.SSHIdentityFile = filepath.Join(cfg.SSHDir, "iximiuz_labs_user")
		}
	}
	return cfg, nil
}

// config is what this run works with.
func (a *App) config() (Config, error) {
	cfg, err := a.storedConfig()
	if err != nil {
		return cfg, err
	}
	a.override(&cfg)
	return cfg, nil
}

func (a *App) override(cfg *Config) {
	if v := a.Getenv("IXIMIUZ_SESSION_ID"); v != "" {
		cfg.SessionID = v
	}
	if v := a.Getenv("IXIMIUZ_ACCESS_TOKEN"); v != "" {
		cfg.AccessToken = v
	}
	if endpoint := cmp.Or(a.endpoint, a.Getenv("LABCTL_ENDPOINT")); endpoint != "" {
		cfg.BaseURL = strings.TrimRight(endpoint, "/")
		cfg.APIBaseURL = cfg.BaseURL + "/api"
	}
}

// saveConfig replaces the file atomically; only its owner can read it.
func (a *App) saveConfig(cfg Config) error {
	path, _, err := a.configPath()
	if err != nil {
		return err
	}
	raw, err := yaml.Marshal(cfg)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("cannot write config file: %v", err)
	}
	if err := replaceFile(path, raw, 0o600); err != nil {
		return fmt.Errorf("cannot write config file: %v", err)
	}
	return nil
}

// replaceFile writes a file that is never seen half-written.
func replaceFile(path string, content []byte, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone already when all went well
	_, err = f.Write(content)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
