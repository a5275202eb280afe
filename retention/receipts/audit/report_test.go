package audit

import (
	"html"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mayfly/retention/receipts"
)

func TestReport(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAuthor(t)
		a.skip[7] = true
		a.live(30)
		hostile := policy
		hostile.Name, hostile.Basis = "other", `<script>alert("basis")</script>`
		a.record(receipts.NewPolicy(&hostile, time.Now()), &receipts.Removed{Name: "other"})
		r, err := Verify([]string{a.dir}, a.options())
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Topics) != 1 || len(r.Topics[0].Partitions) != 2 {
			t.Errorf("%+v", r.Topics)
		}
		r.Canaries = CanaryResult{Passed: 1234, Lost: 3}
		var page strings.Builder
		if err := WriteHTML(&page, r, time.Now()); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"1 exception: see below", "within 1s", "1,234", "from 2000-01-01 00:00:00 UTC to", "web/946684814000+2000", "unpurged", "self-attested", "spam", r.Logs[0].Root[:20], "20s", "3ms", "Offsets of topic connections", "&lt;script&gt;"} {
			if !strings.Contains(page.String(), want) && !strings.Contains(html.UnescapeString(page.String()), want) {
				t.Errorf("the page lacks %s", want)
			}
		}
		if m := regexp.MustCompile(`(?i)https?:|<script|<img|<link|@import|url\(| src=`).FindString(page.String()); m != "" {
			t.Errorf("the page has %q: it must load nothing", m)
		}
	})
}

// Where nothing came due, the page praises nothing.
func TestReportOfNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAuthor(t)
		a.record(receipts.NewPolicy(&policy, time.Now()))
		r, err := Verify([]string{a.dir}, a.options())
		if err != nil {
			t.Fatal(err)
		}
		var page strings.Builder
		if err := WriteHTML(&page, r, time.Now()); err != nil {
			t.Fatal(err)
		}
		if text := page.String(); !strings.Contains(text, "No epoch came due") || strings.Contains(text, "in time.") {
			t.Error(text)
		}
	})
}
