package abuse

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"mayfly/retention/address"
	"mayfly/retention/record"
	"mayfly/retention/store"
)

// script works through the page as a person would, and writes down what it sees.
const script = `"use strict";
const step = async (kind, subject, at, port) => {
  document.querySelector("input[value=" + kind + "]").click();
  const set = (id, value) => { document.getElementById(id).value = value; };
  set("subject", subject); set("at", at); set("port", port); set("case", "ABUSE-17"); set("reason", "spam");
  document.getElementById("lookup").requestSubmit();
  while (document.getElementById("ask").disabled) await new Promise((r) => setTimeout(r, 10));
  const text = ["banners", "events", "subject-error"].map((id) => document.getElementById(id).textContent).join(" | ");
  const line = document.createElement("p");
  line.className = "seen";
  line.textContent = kind + ": " + text;
  document.body.append(line);
};
addEventListener("load", async () => {
  while (!document.querySelector(".strip li")) await new Promise((r) => setTimeout(r, 10));
  await step("ip", "nonsense", "", "");
  await step("ip", "192.0.2.1", AT, "");
  await step("ip", "192.0.2.1", AT, "1500");
  await step("account", "gone", "", "");
  const line = document.createElement("p");
  line.className = "seen";
  line.textContent = "strip: " + document.querySelectorAll(".strip .young").length + " young, url: " + location.href;
  document.body.append(line);
});
`

// The page works in a real browser under its own content security policy.
func TestPageInBrowser(t *testing.T) {
	t.Parallel()
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("chromium is needed and not on the PATH")
		}
		t.Skip("chromium is not on the PATH: the page was not run in a browser")
	}
	at := time.Now().Add(-time.Minute).Truncate(time.Second).UTC()
	r := start(t, sharedAddress(t, at), func(_ *Config, d *Dependencies) {
		d.Retention = retentionFunc(func() (RetentionStatus, error) {
			return RetentionStatus{Time: time.Now(), KeyringNodes: 3, Policies: []PolicyStatus{{
				Name: "web", Window: 3600, EpochLength: 60,
				Epochs: []EpochStatus{{Epoch: "web/0+60000", Start: at, End: at.Add(time.Minute), Deadline: at.Add(time.Hour), State: EpochLive, KeyNodes: 3}},
			}}}, nil
		})
	})
	page := httptest.NewServer(scripted(r.Config.Handler, strings.ReplaceAll(script, "AT", fmt.Sprintf("%q", at.Format(time.RFC3339)))))
	t.Cleanup(page.Close)
	profile, err := os.MkdirTemp("", "mayfly-browser-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(profile) }) // the browser may still be writing: not t.TempDir
	command := exec.CommandContext(t.Context(), chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
		"--disable-dev-shm-usage", "--user-data-dir="+profile, "--virtual-time-budget=20000", "--dump-dom", page.URL+"/")
	command.WaitDelay = 5 * time.Second
	dom, err := command.Output()
	if err != nil {
		t.Fatalf("running chromium: %v", err)
	}
	_, seen, _ := strings.Cut(string(dom), "<p class=\"seen\">")
	for _, want := range []string{
		"ip:  |  | not an IPv4 or IPv6 address",
		"ip: Ambiguous: 2 accounts match, so none is named.",
		"ip: 1 event of 1 account",
		"bob192.0.2.11000–1999connect",
		"account: Nothing was found.Incomplete: something that was stored is missing.",
		"strip: 1 young, url: " + page.URL + "/<",
	} {
		if !strings.Contains(seen, want) {
			t.Errorf("the page did not show %q, but:\n%s", want, seen)
		}
	}
	if strings.Contains(seen, "ada") {
		t.Error("an ambiguous answer named an account")
	}
}

// sharedAddress is a log in which ada and bob share 192.0.2.1, and what is known
// of accounts has a gap.
func sharedAddress(t *testing.T, at time.Time) logFunc {
	t.Helper()
	ip, err := address.Parse("192.0.2.1")
	if err != nil {
		t.Fatal(err)
	}
	event := record.Record{Time: at.UnixMilli(), Address: ip, Account: "bob", Event: "connect", Ports: record.Ports{First: 1000, Last: 1999, Known: true}}
	other := event
	other.Account, other.Ports = "ada", record.Ports{First: 2000, Last: 2999, Known: true}
	return func(q store.Query) (store.Answer, error) {
		if q.Account != "" {
			return store.Answer{}, nil
		}
		return store.Answer{Records: []record.Record{event, other}, Complete: true}, nil
	}
}

// scripted adds a script of the same origin to the page.
func scripted(desk http.Handler, script string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/assets/test.js" {
			w.Header().Set("Content-Type", "text/javascript")
			_, _ = w.Write([]byte(script))
			return
		}
		desk.ServeHTTP(w, r)
		if r.URL.Path == "/" {
			_, _ = w.Write([]byte(`<script src="/assets/test.js" defer></script>`))
		}
	})
}
