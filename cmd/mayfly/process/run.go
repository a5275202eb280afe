package process

import (
	"context"
	"errors"
	"os"

	"go.uber.org/zap"

	"mayfly/cmd/mayfly/config"
	"mayfly/retention/secret"
)

// Run is what the commands for roles do: it loads the configuration and works
// until ctx ends.
func Run(ctx context.Context, flags config.Flags, r Roles) error {
	c, log, err := prepare(flags, r.Sections()...)
	if err != nil {
		return err
	}
	p, err := New(c, r, log)
	if err != nil {
		return err
	}
	log.Info("mayfly starts", zap.Bool("ingest", r.Ingest), zap.Bool("compact", r.Compact), zap.Bool("warden", r.Warden), zap.Bool("desk", r.Desk),
		zap.Int("policies", len(c.Policies)))
	err = errors.Join(p.Run(ctx), p.Close())
	log.Info("mayfly has stopped", zap.Error(err))
	return err
}

// prepare loads what a command works with, and keeps its memory from others.
func prepare(flags config.Flags, sections ...string) (config.Config, *zap.Logger, error) {
	c, err := flags.Load(sections...)
	if err != nil {
		return config.Config{}, nil, err
	}
	log, err := config.NewLogger(c.Log, os.Stderr)
	if err != nil {
		return config.Config{}, nil, err
	}
	if err := secret.Harden(); err != nil {
		log.Warn("keys in memory are not kept from others on this machine", zap.Error(err))
	}
	return c, log, nil
}
