package abuse

import (
	"errors"
	"net"
	"net/netip"
	"strconv"
)

// Config says where the desk listens and where it keeps receipts.
type Config struct {
	Listen string `yaml:"listen" help:"address of the desk's API and page, host:port; beyond loopback, put TLS and sign-in in front of it"`
	// Hosts guards a desk on loopback against web pages whose name was made to
	// point at it (DNS rebinding).
	Hosts       []string `yaml:"hosts" help:"host names, besides localhost, under which a desk that listens on loopback may be asked: those of a proxy in front of it"`
	ReceiptsDir string   `yaml:"receipts_dir" help:"folder of the receipt log, created where missing; a process that is a warden alone has its own in the folder warden below; without it no look-up is answered"`
}

// DefaultConfig listens on this machine only.
func DefaultConfig() Config {
	return Config{Listen: "127.0.0.1:8080", ReceiptsDir: "receipts"}
}

// Validate names the setting that is wrong.
func (c Config) Validate() error {
	_, port, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return errors.New("desk.listen: must be host:port, such as 127.0.0.1:8080")
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return errors.New("desk.listen: the port must be 0 to 65535")
	}
	if c.ReceiptsDir == "" {
		return errors.New("desk.receipts_dir: name a folder: no look-up is answered without a receipt")
	}
	return nil
}

// loopback reports whether only this machine reaches the desk.
func (c Config) loopback() bool {
	host, _, _ := net.SplitHostPort(c.Listen)
	return isLoopback(host)
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}
