package kafkain

import "github.com/twmb/franz-go/pkg/kgo"

// ClientOptions are the TLS and SASL settings of a franz-go client, for who writes
// to the cluster that c reads from.
func ClientOptions(c Config) ([]kgo.Opt, error) {
	s, err := newSecurity(c)
	if err != nil {
		return nil, err
	}
	return s.franz(), nil
}
