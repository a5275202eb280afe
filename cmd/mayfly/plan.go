package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"mayfly/cmd/mayfly/output"
	"mayfly/pipeline/capacity"
)

// PlanCmd is "mayfly plan".
type PlanCmd struct {
	capacity.Demand
	output.Flag
	Measured string `type:"existingfile" placeholder:"FILE" help:"Constants of your own machine, as make bench and make bench-curve write them."`
}

// Help gives examples.
func (*PlanCmd) Help() string {
	return `The arithmetic of what was measured; each line says which constant it comes from. It
asks no server and reads no configuration.

Examples:
  mayfly plan --rate 1000
  mayfly plan --rate 174000 --window 24h                 # 15 billion events a day
  mayfly plan --rate 1740000 --ids uuid --node-gb 256    # 150 billion
  mayfly plan --rate 20000 --window 1h --no-cold --output json
  make bench bench-curve BENCHFLAGS="-results $PWD/mine.json" && mayfly plan --measured mine.json`
}

// Run prints the plan.
func (cmd *PlanCmd) Run() error {
	measured, err := cmd.constants()
	if err != nil {
		return err
	}
	plan, err := capacity.Make(measured, cmd.Demand)
	if err != nil {
		return err
	}
	if cmd.JSON() {
		return output.JSON(plan)
	}
	return printPlan(os.Stdout, plan)
}

func (cmd *PlanCmd) constants() (capacity.Measured, error) {
	if cmd.Measured == "" {
		return capacity.Embedded()
	}
	file, err := os.Open(cmd.Measured)
	if err != nil {
		return capacity.Measured{}, fmt.Errorf("opening the measured constants: %w", err)
	}
	defer file.Close()
	m, err := capacity.Read(file)
	if err != nil {
		return m, fmt.Errorf("--measured: %w", err)
	}
	return m, nil
}

func printPlan(w io.Writer, p capacity.Plan) error {
	m := p.Machine
	fmt.Fprintf(w, "measured on %s, %d cores, %s, Redis %s\n\n", m.CPU, m.Cores, m.Kafka, m.Redis)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	part := ""
	for _, l := range p.Lines {
		name := l.Part
		if name == part {
			name = ""
		}
		part = l.Part
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", name, l.Name, quantity(l.Value, l.Unit), l.From)
	}
	return t.Flush()
}

// quantity is a value with three digits that count.
func quantity(v float64, unit string) string {
	if unit == "s" {
		return output.Duration(time.Duration(v * 1e9).Round(100 * time.Microsecond))
	}
	prefix, most := "", 9999.5
	if strings.HasPrefix(unit, "B") {
		most = 999.5
	}
	for _, p := range []string{"k", "M", "G", "T"} {
		if v < most {
			break
		}
		v, prefix, most = v/1000, p, 999.5
	}
	digits := 0
	if v != math.Trunc(v) && v != 0 {
		digits = max(0, min(3, 2-int(math.Floor(math.Log10(math.Abs(v))))))
	}
	text := strconv.FormatFloat(v, 'f', digits, 64)
	if prefix+unit != "" && prefix+unit != "/s" {
		text += " "
	}
	return text + prefix + unit
}
