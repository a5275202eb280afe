package demo

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"mayfly/cmd/mayfly/output"
)

// summaryEpochs is how many of the latest due epochs the table shows.
const summaryEpochs = 12

// printSummary says how it went, and at last what the exit code will be.
func (d *demo) printSummary(out io.Writer, r outcome, problems []string) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w)
	if len(d.dueAtEnd) > 0 {
		output.Row(w, "EPOCH", "BEGAN", "DEADLINE", "PURGED AFTER")
		for _, e := range d.dueAtEnd[max(0, len(d.dueAtEnd)-summaryEpochs):] {
			lag := "not purged"
			if e.Purged {
				lag = fmt.Sprintf("%d ms", milliseconds(e.Lag))
			}
			output.Row(w, e.Epoch.String(), e.Epoch.StartTime().Format(time.TimeOnly), e.Deadline.Format(time.TimeOnly), lag)
		}
		fmt.Fprintln(w)
	}
	refused := ""
	if reasons := d.counts.reasons(); reasons != "" {
		refused = " (" + reasons + ")"
	}
	fmt.Fprintf(w, "events\t%s sent = %s stored + %s refused%s\n", grouped(r.Produced), grouped(r.Stored), grouped(r.Rejected), refused)
	fmt.Fprintf(w, "look-ups\t%d answered exactly what was sent, each with a receipt\n", r.LookupsOK)
	fmt.Fprintf(w, "epochs\t%d came due, %d purged, the slowest %d ms after its deadline\n", r.EpochsDue, r.EpochsPurged, r.MaxPurgeLagMS)
	if r.Verified {
		fmt.Fprintln(w, "checked\teach server itself: no key of them on either keyring node, nothing in the data Redis, and what was copied of their keys can't be unwrapped")
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if len(problems) == 0 && r.Caught != "" {
		_, err := fmt.Fprintln(out, r.Caught)
		return err
	}
	if len(problems) == 0 {
		_, err := fmt.Fprintln(out, "exit 0: every due epoch was purged and verified")
		return err
	}
	for _, problem := range problems {
		fmt.Fprintln(out, "failed: "+problem)
	}
	_, err := fmt.Fprintln(out, "exit 1: the demo did not keep what it promises")
	return err
}
