package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"mayfly/abuse/lookup"
	"mayfly/cmd/mayfly/output"
)

func fprintJSON(out io.Writer, v any) error {
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(v)
}

// printResult writes a table of the events and then what the answer means.
func printResult(out io.Writer, r lookup.Result) error {
	if len(r.Events) > 0 {
		table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		output.Row(table, "TIME", "ACCOUNT", "ADDRESS", "PORT", "EVENT", "SERVER", "SESSION", "SINCE", "DETAILS")
		for _, e := range r.Events {
			since := ""
			if !e.Since.IsZero() {
				since = stamp(e.Since)
			}
			details := slices.DeleteFunc([]string{e.Transport, e.Client, e.Outcome}, func(s string) bool { return s == "" })
			output.Row(table, stamp(e.Time), e.Account, e.IP, eventPorts(e), e.Event, e.Server, e.Session, since, strings.Join(details, " "))
		}
		if err := table.Flush(); err != nil {
			return err
		}
		fmt.Fprintln(out)
	}
	for _, line := range meaning(r) {
		fmt.Fprintln(out, line)
	}
	_, err := fmt.Fprintf(out, "receipt %s\n", r.Receipt)
	return err
}

// meaning says in words what the answer does and does not prove.
func meaning(r lookup.Result) []string {
	unique := ""
	if r.UniqueWithin > 0 {
		unique = output.Duration(time.Duration(r.UniqueWithin * float64(time.Second)))
	}
	var lines []string
	switch {
	case r.Ambiguous && unique != "":
		lines = append(lines, fmt.Sprintf("ambiguous: %s match, so none is named: add --port, or --tolerance %s, within which only one matches", output.Plural(r.Accounts, "account"), unique))
	case r.Ambiguous:
		lines = append(lines, fmt.Sprintf("ambiguous: %s match, so none is named: add --port or lower --tolerance", output.Plural(r.Accounts, "account")))
	case len(r.Events) == 0:
		lines = append(lines, fmt.Sprintf("nothing was found from %s to %s", stamp(r.From), stamp(r.To)))
	case unique != "":
		lines = append(lines, fmt.Sprintf("%s of %s, the only one within ± %s", output.Plural(len(r.Events), "event"), output.Plural(r.Accounts, "account"), unique))
	default:
		lines = append(lines, fmt.Sprintf("%s of %s", output.Plural(len(r.Events), "event"), output.Plural(r.Accounts, "account")))
	}
	if r.Truncated {
		lines = append(lines, "truncated: there are more events: raise --limit or ask for a shorter time")
	}
	for _, p := range r.Purged {
		lines = append(lines, fmt.Sprintf("purged: what policy %s kept from before %s can't be read by anyone any more", p.Policy, stamp(p.Before)))
	}
	if !r.Complete {
		lines = append(lines, "incomplete: something that was stored is missing")
	}
	return lines
}

// printBatch writes one row for each line of the batch.
func printBatch(out io.Writer, b lookup.BatchResult) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	output.Row(table, "LINE", "ANSWER", "ACCOUNT", "EVENTS", "NOTE")
	for _, r := range b.Results {
		line := strconv.Itoa(r.Line)
		if r.Error != nil {
			output.Row(table, line, "error", "", "", strings.TrimPrefix(r.Error.Field+": "+r.Error.Message, ": "))
			continue
		}
		output.Row(table, line, batchVerdict(*r.Result), batchAccount(*r.Result), strconv.Itoa(len(r.Result.Events)), batchNote(*r.Result))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "\n%s, %d not answered\nreceipt %s\n", output.Plural(len(b.Results), "line"), b.Failed, b.Receipt)
	return err
}

func batchVerdict(r lookup.Result) string {
	switch {
	case r.Ambiguous:
		return "ambiguous"
	case len(r.Events) == 0:
		return "nothing"
	}
	return "found"
}

// batchAccount names the one account, or counts several.
func batchAccount(r lookup.Result) string {
	if r.Accounts == 1 && len(r.Events) > 0 {
		return r.Events[0].Account
	}
	return strconv.Itoa(r.Accounts) + " accounts"
}

// batchNote is what else a batch's reader must know of one line.
func batchNote(r lookup.Result) string {
	var notes []string
	if !r.Complete {
		notes = append(notes, "incomplete")
	}
	if r.Truncated {
		notes = append(notes, "truncated")
	}
	if len(r.Purged) > 0 {
		notes = append(notes, "some of the time is purged")
	}
	if r.UniqueWithin > 0 {
		notes = append(notes, "unique within ± "+output.Duration(time.Duration(r.UniqueWithin*float64(time.Second))))
	}
	return strings.Join(notes, "; ")
}

func eventPorts(e lookup.Event) string {
	switch {
	case e.Port == nil:
		return ""
	case e.PortEnd == nil:
		return strconv.Itoa(int(*e.Port))
	}
	return fmt.Sprintf("%d-%d", *e.Port, *e.PortEnd)
}
