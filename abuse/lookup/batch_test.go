package lookup

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mayfly/retention/receipts/receiptstest"
)

// summary shortens the answer to a batch: "2: 10:00 ada | 3: ip: …".
func summary(b BatchResult) string {
	var lines []string
	for _, r := range b.Results {
		switch {
		case r.Error != nil:
			lines = append(lines, fmt.Sprintf("%d! %s", r.Line, r.Error.Field))
		case r.Result.Ambiguous:
			lines = append(lines, fmt.Sprintf("%d? %d", r.Line, r.Result.Accounts))
		default:
			lines = append(lines, fmt.Sprintf("%d: %s", r.Line, told(*r.Result)))
		}
	}
	return strings.Join(lines, " | ")
}

func TestBatch(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		format Format
		body   string
		want   string
	}{
		"CSV": {CSV, "ip,port,at,tolerance\n192.0.2.1,1500,2026-11-07T10:00:00Z,10s\n\n192.0.2.1,,2026-11-07T10:00:00Z,\nhello,,,\n192.0.2.1,x,,\n192.0.2.1\n",
			"2: 10:00 ada | 4? 2 | 5! ip | 6! port | 7! "},
		"CSV of a spreadsheet": {CSV, "\ufeffAccount , Limit\r\n\"ada\",1\r\nbob,\r\n", "2: 10:00 ada | 3: 10:00 bob"},
		"CSV, broken quote":    {CSV, "ip\n\"192.0.2.1\n192.0.2.1\n", "2!  | 3: 10:00 ada, 10:00 bob"},
		"JSON lines": {JSONLines, `{"account":"ada"}` + "\n\n" + `{"account":"bob","port":7}` + "\n" + `{"account":` + "\n" + `{"account":"ada","case":"B","reason":"test"}` + "\n" + `{"port":"x"}` + "\n" + `{"account":"batch"}`,
			"1: 10:00 ada | 3:  | 4!  | 5! case | 6! port | 7! case"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, dir := desk(t, logOf("10:00 connect ada 192.0.2.1 p=1000-1999", "10:00 connect bob 192.0.2.1 p=2000-2999"))
			result, err := l.LookBatch(t.Context(), noon, Batch{Case: "batch-7", Reason: "spam", Format: test.format, Body: []byte(test.body)})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, summary(result)); diff != "" {
				t.Error(diff)
			}
			written := receiptstest.Text(t, dir)
			if strings.Count(written, "\n") != 1 || !strings.Contains(written, result.Receipt) ||
				!strings.Contains(written, fmt.Sprintf(`"batch":%d`, len(result.Results))) {
				t.Errorf("the receipt is %s", written)
			}
			for _, secret := range []string{"192.0", "ada", "bob", "hello"} {
				if strings.Contains(written, secret) {
					t.Errorf("the receipt holds %q", secret)
				}
			}
		})
	}
}

func TestBatchRefusals(t *testing.T) {
	t.Parallel()
	for name, b := range map[string]Batch{
		"no subject":        {Format: CSV, Body: []byte("ip\n")},
		"empty":             {Format: JSONLines},
		"no header":         {Format: CSV, Body: []byte("192.0.2.1\n192.0.2.2\n")},
		"repeated column":   {Format: CSV, Body: []byte("ip,ip\n192.0.2.1,192.0.2.2\n")},
		"broken header":     {Format: CSV, Body: []byte("\"ip\n192.0.2.1\n")},
		"too many subjects": {Format: CSV, Body: []byte("ip\n" + strings.Repeat("192.0.2.1\n", MaxSubjects+1))},
		"too large":         {Format: CSV, Body: make([]byte, MaxBatchBytes+1)},
		"address as case":   {Case: "192-0-2-1", Format: CSV, Body: []byte("ip\n192.0.2.1\n")},
	} {
		l, dir := desk(t, logOf("10:00 connect ada 192.0.2.1"))
		if b.Case == "" {
			b.Case = "A"
		}
		b.Reason = "test"
		var refusal *Refusal
		if result, err := l.LookBatch(t.Context(), noon, b); !errors.As(err, &refusal) || len(result.Results) != 0 {
			t.Errorf("%s: told %+v, %v", name, result, err)
		} else if strings.Contains(err.Error(), "192") {
			t.Errorf("%s: the error quotes the batch", name)
		}
		if written := receiptstest.Text(t, dir); written != "" {
			t.Errorf("%s: left a receipt", name)
		}
	}
}

// All answers of a batch together stay within MaxLimit.
func TestBatchIsBounded(t *testing.T) {
	t.Parallel()
	log := &sliceLog{}
	for range MaxLimit*3/4 + 1 {
		log.records = append(log.records, seen("10:00 alive ada 192.0.2.1"))
	}
	l, _ := desk(t, log)
	body := "account,limit\nada,100000\nada,100000\nada,100000\n"
	result, err := l.LookBatch(t.Context(), noon, Batch{Case: "A", Reason: "test", Format: CSV, Body: []byte(body)})
	if err != nil {
		t.Fatal(err)
	}
	first, second, third := result.Results[0], result.Results[1], result.Results[2]
	if len(first.Result.Events)+len(second.Result.Events) != MaxLimit || !second.Result.Truncated || third.Error == nil {
		t.Errorf("told %d and %d events, third %+v", len(first.Result.Events), len(second.Result.Events), third)
	}
}

func FuzzParseBatch(f *testing.F) {
	f.Add(true, []byte("ip,port,at\n192.0.2.1,7,2026-11-07T10:00:00Z\n\n,,\n"))
	f.Add(true, []byte("account\n\"a,b\"\n"))
	f.Add(false, []byte(`{"ip":"192.0.2.1","port":7}`+"\n"+`{"account":"ada"}`))
	f.Fuzz(func(t *testing.T, isCSV bool, body []byte) {
		format := JSONLines
		if isCSV {
			format = CSV
		}
		lines, err := parseBatch(format, body)
		if err == nil && (len(lines) == 0 || len(lines) > MaxSubjects) {
			t.Fatalf("%d subjects", len(lines))
		}
		for i, line := range lines {
			if i > 0 && line.number <= lines[i-1].number {
				t.Fatal("lines out of order")
			}
			if line.request.Case != "" && line.err == nil {
				t.Fatal("a line brought a case")
			}
		}
	})
}
