package process

import (
	"context"
	"errors"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"mayfly/cmd/mayfly/config"
	"mayfly/pipeline/edge"
	"mayfly/pipeline/kafkain"
	"mayfly/pipeline/relay"
	"mayfly/retention/secret"
)

// RunRelay is what mayfly relay does. A relay has neither the data Redis nor the
// key-encryption key: it is not a Process.
func RunRelay(ctx context.Context, flags config.Flags) (err error) {
	c, log, err := prepare(flags, "kafka", "keyring", "policies", "fields", "log", "relay")
	if err != nil {
		return err
	}
	keys, clients, err := openKeyring(c.Keyring, plainNode, log)
	defer func() {
		for _, client := range clients {
			err = errors.Join(err, client.Close())
		}
	}()
	if err != nil {
		return err
	}
	security, err := kafkain.ClientOptions(c.Kafka)
	if err != nil {
		return err
	}
	producer, err := edge.NewKafka(c.Kafka.Brokers, c.Kafka.Topics[0], security...)
	if err != nil {
		return err
	}
	defer producer.Close()
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	sealer, err := edge.New(c.Relay.Batch, edge.Dependencies{
		Policies: c.Policies, Topic: c.Kafka.Topics[0], Keys: keys, Producer: producer, Log: log, Registerer: registry,
	})
	if err != nil {
		return err
	}
	r, err := relay.New(c.Relay, relay.Dependencies{Fields: c.Fields, Sealer: sealer, Gatherer: registry, Log: log})
	if err != nil {
		return err
	}
	log.Info("mayfly relay starts", zap.Int("policies", len(c.Policies)))
	work, ctx := errgroup.WithContext(ctx)
	work.Go(func() error { return atDeadlines(ctx, c.Policies, secret.Scrub) })
	work.Go(func() error { return r.Run(ctx) })
	err = work.Wait()
	log.Info("mayfly relay has stopped", zap.Error(err))
	return err
}
