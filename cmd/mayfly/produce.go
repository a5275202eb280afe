package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"mayfly/cmd/mayfly/config"
	"mayfly/cmd/mayfly/output"
	"mayfly/pipeline/kafkain"
	"mayfly/pipeline/produce"
)

// ProduceCmd sends lines to Kafka.
type ProduceCmd struct {
	config.Flags
	File        string  `arg:"" optional:"" default:"-" help:"File to read; - is standard input."`
	Format      string  `enum:"json,sshd" default:"json" help:"What the lines are: ${enum}."`
	Rebase      string  `enum:",now,last" default:"" help:"Move old times: now, each event happens when it is sent; last, the last event is now and the others keep their distance."`
	Speed       float64 `default:"0" help:"Replay this many times faster than it happened; 0: as fast as possible."`
	Zone        string  `default:"UTC" help:"Time zone of lines that name none."`
	CreateTopic bool    `help:"Create the topic where it is missing, with as many partitions and replicas as the broker has for new ones."`
	Output      string  `enum:"text,json" default:"text" help:"How to print the summary: ${enum}."`
}

// Help is shown by mayfly produce --help.
func (ProduceCmd) Help() string {
	return `Lines that hold no connection event are skipped, and counted by reason; none is
printed.

Examples:
  mayfly produce --topic connections events.jsonl
  mayfly produce --format sshd --rebase now /var/log/auth.log
  journalctl -u ssh -o short-iso | mayfly produce --format sshd
  mayfly produce --rebase now --speed 10 yesterday.jsonl`
}

// Run sends everything, or says why not.
func (c *ProduceCmd) Run(ctx context.Context) (err error) {
	config, err := c.Load("kafka", "fields")
	if err != nil {
		return err
	}
	in, size, err := c.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	security, err := kafkain.ClientOptions(config.Kafka)
	if err != nil {
		return err
	}
	progress, done := produce.Bar(os.Stderr, size)
	producer, err := produce.New(produce.Config{
		Brokers: config.Kafka.Brokers, Topic: config.Kafka.Topics[0], CreateTopic: c.CreateTopic,
		Format: c.Format, Fields: config.Fields, Rebase: c.Rebase, Speed: c.Speed, Zone: c.Zone,
	}, produce.Dependencies{Options: security, Progress: progress})
	if err != nil {
		return err
	}
	summary, err := producer.Run(ctx, in)
	done()
	return errors.Join(c.print(summary), err)
}

func (c *ProduceCmd) open() (io.ReadCloser, int64, error) {
	if c.File == "-" {
		return os.Stdin, 0, nil
	}
	file, err := os.Open(c.File)
	if err != nil {
		return nil, 0, err
	}
	info, err := file.Stat()
	if err != nil {
		return nil, 0, errors.Join(err, file.Close())
	}
	return file, info.Size(), nil
}

func (c *ProduceCmd) print(s produce.Summary) error {
	if c.Output == "json" {
		return json.NewEncoder(os.Stdout).Encode(s)
	}
	var reasons []string
	for reason, n := range s.Reasons {
		reasons = append(reasons, fmt.Sprintf("%d %s", n, reason))
	}
	slices.Sort(reasons)
	_, err := fmt.Printf("%s, %s produced, %d skipped", output.Plural(s.Lines, "line"), output.Plural(s.Produced, "event"), s.Skipped)
	if len(reasons) > 0 {
		fmt.Printf(" (%s)", strings.Join(reasons, ", "))
	}
	fmt.Println()
	return err
}
