package abuse

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"mayfly/retention/store"
)

// A web page whose name resolves to loopback must not reach the desk, nor may
// a page of another origin ask it.
func TestGuard(t *testing.T) {
	t.Parallel()
	r := start(t, holding(t, true), func(c *Config, _ *Dependencies) { c.Hosts = []string{"desk.example.org"} })
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(r.URL, "http://"))
	for _, test := range []struct {
		headers []string
		want    int
	}{
		{nil, 200},
		{[]string{"Host", "localhost:" + port}, 200},
		{[]string{"Host", "[::1]:" + port}, 200},
		{[]string{"Host", "[::1]"}, 200},
		{[]string{"Host", "127.0.0.2"}, 200},
		{[]string{"Host", "desk.example.org"}, 200},
		{[]string{"Host", "evil.example.com"}, 421},
		{[]string{"Host", "evil.example.com:" + port}, 421},
		{[]string{"Host", "localhost.evil.example.com"}, 421},
		{[]string{"Host", "192.0.2.1"}, 421},
		{[]string{"Host", "["}, 421},
		{[]string{"Sec-Fetch-Site", "cross-site"}, 403},
		{[]string{"Sec-Fetch-Site", "same-origin"}, 200},
		{[]string{"Origin", "https://evil.example.com"}, 403},
	} {
		got := r.send(t, "POST", "/v1/lookups", "application/json", asked, test.headers...)
		if got.status != test.want || (got.status != 200) == strings.Contains(got.body, "canary") {
			t.Errorf("%v: %+v", test.headers, got)
		}
	}
}

func TestUnknownRoutesAreProblems(t *testing.T) {
	t.Parallel()
	r := start(t, holding(t, true))
	for route, want := range map[string]int{"GET /nothing": 404, "GET /docs": 404, "GET /v1/lookups": 405, "PUT /v1/lookups": 405, "DELETE /": 405} {
		method, path, _ := strings.Cut(route, " ")
		got := r.send(t, method, path, "", "")
		if got.status != want || got.header.Get("Content-Type") != "application/problem+json" || !json.Valid([]byte(got.body)) {
			t.Errorf("%s: %+v", route, got)
		}
		if want == 405 && got.header.Get("Allow") == "" {
			t.Errorf("%s: no Allow", route)
		}
	}
}

// A panic's value may be a part of a request.
func TestPanicStaysOutOfTheLog(t *testing.T) {
	t.Parallel()
	r := start(t, logFunc(func(store.Query) (store.Answer, error) { panic("203.0.113.99 canary") }))
	if got := r.look(t, asked); got.status != http.StatusInternalServerError {
		t.Errorf("%+v", got)
	}
	if text := r.logText(t); !strings.Contains(text, "request panicked") || strings.Contains(text, "203.0.113.99") {
		t.Errorf("the log says %s", text)
	}
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	r := start(t, holding(t, true))
	for _, path := range []string{"/", "/assets/desk.js", "/assets/desk.css", "/assets/mayfly.svg", "/openapi.json", "/v1/retention", "/nothing"} {
		got := r.send(t, "GET", path, "", "")
		if (got.status != 200) != (path == "/nothing") {
			t.Errorf("%s: %d", path, got.status)
		}
		for name, want := range map[string]string{"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"} {
			if got.header.Get(name) != want {
				t.Errorf("%s: %s is %q", path, name, got.header.Get(name))
			}
		}
		if csp := got.header.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: %s", path, csp)
		}
	}
	// The policy above allows no inline script or style.
	if page := r.send(t, "GET", "/", "", "").body; strings.Contains(page, "style=") || strings.Contains(page, "<style") ||
		strings.Contains(page, "onclick") || strings.Contains(page, "//") {
		t.Error("the page has inline code, or loads something from elsewhere")
	}
}

func TestOpenAPI(t *testing.T) {
	t.Parallel()
	r := start(t, holding(t, true))
	var spec struct {
		OpenAPI string
		Paths   map[string]map[string]struct {
			RequestBody struct{ Content map[string]any }
			Responses   map[string]any
		}
		Components struct {
			Schemas map[string]struct {
				Required   []string
				Properties map[string]any
			}
		}
	}
	if err := json.Unmarshal([]byte(r.send(t, "GET", "/openapi.json", "", "").body), &spec); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(spec.OpenAPI, "3.1") {
		t.Errorf("OpenAPI %s", spec.OpenAPI)
	}
	post := spec.Paths["/v1/lookups"]["post"]
	if len(post.RequestBody.Content) != 1 || post.RequestBody.Content["application/json"] == nil || post.Responses["503"] == nil {
		t.Errorf("the look-up is described as %+v", post)
	}
	if batch := spec.Paths["/v1/lookups/batch"]["post"]; batch.RequestBody.Content["text/csv"] == nil {
		t.Errorf("the batch is described as %+v", batch)
	}
	if request := spec.Components.Schemas["Request"]; strings.Join(request.Required, " ") != "case reason" || request.Properties["tolerance"] == nil {
		t.Errorf("the request is described as %+v", request)
	}
	if result := spec.Components.Schemas["Result"]; result.Properties["complete"] == nil {
		t.Errorf("the result is described as %+v", result)
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*Config){
		"desk.listen":       func(c *Config) { c.Listen = "8080" },
		"desk.listen: the":  func(c *Config) { c.Listen = "127.0.0.1:http" },
		"desk.receipts_dir": func(c *Config) { c.ReceiptsDir = "" },
	} {
		c := DefaultConfig()
		change(&c)
		if err := c.Validate(); err == nil || !strings.HasPrefix(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Serve answers until its context ends, lets the requests under way finish,
// and warns when others than this machine can ask.
func TestServe(t *testing.T) {
	t.Parallel()
	for listen, warns := range map[string]bool{"127.0.0.1:0": false, "0.0.0.0:0": true} {
		t.Run(listen, func(t *testing.T) {
			t.Parallel()
			asking, finish := make(chan struct{}), make(chan struct{})
			core, logs := observer.New(zap.WarnLevel)
			slow := logFunc(func(store.Query) (store.Answer, error) {
				close(asking)
				<-finish
				return store.Answer{Complete: true}, nil
			})
			var d Dependencies
			start(t, slow, func(_ *Config, made *Dependencies) { d = *made })
			d.Registerer, d.Log = nil, zap.New(core)
			desk, err := New(DefaultConfig(), d)
			if err != nil {
				t.Fatal(err)
			}
			listener, err := net.Listen("tcp", listen)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			served := make(chan error, 1)
			go func() { served <- desk.Serve(ctx, listener) }()
			_, port, _ := net.SplitHostPort(listener.Addr().String())
			status := make(chan int, 1)
			go func() {
				client := http.Client{Timeout: 10 * time.Second}
				response, err := client.Post("http://127.0.0.1:"+port+"/v1/lookups", "application/json", strings.NewReader(asked))
				if err != nil {
					t.Error(err)
					status <- 0
					return
				}
				_ = response.Body.Close()
				status <- response.StatusCode
			}()
			<-asking
			cancel()
			close(finish)
			if got := <-status; got != http.StatusOK {
				t.Errorf("the request under way got %d", got)
			}
			if err := <-served; err != nil {
				t.Error(err)
			}
			if got := logs.Len() > 0; got != warns {
				t.Errorf("warned: %v", logs.All())
			}
		})
	}
}

func TestRunSaysWhichSetting(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	var d Dependencies
	start(t, holding(t, true), func(_ *Config, made *Dependencies) { d = *made })
	d.Registerer = nil
	desk, err := New(Config{Listen: taken.Addr().String(), ReceiptsDir: "r"}, d)
	if err != nil {
		t.Fatal(err)
	}
	if err := desk.Run(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "desk.listen: ") {
		t.Errorf("Run gave %v", err)
	}
}

// The receipt log is there for everyone to check, and nothing beside it is.
func TestReceiptLogIsServed(t *testing.T) {
	t.Parallel()
	var r *rig
	r = start(t, holding(t, true), func(_ *Config, d *Dependencies) {
		d.ReceiptLog = http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) { r.receipts.Handler().ServeHTTP(w, q) })
	})
	r.look(t, asked)
	got := r.send(t, "GET", "/v1/log/checkpoint", "", "")
	if got.status != http.StatusOK || !strings.Contains(got.body, "\n1\n") {
		t.Errorf("%+v", got)
	}
	if got := r.send(t, "GET", "/v1/log/tile/entries/000.p/1", "", ""); got.status != http.StatusOK || !strings.Contains(got.body, `"type":"lookup"`) {
		t.Errorf("%+v", got)
	}
	for _, path := range []string{
		"/v1/log/", "/v1/log/journal", "/v1/log/receipts.key", "/v1/log/../receipts.key", "/v1/log/..%2freceipts.key", "/v1/log/%2e%2e/receipts.key", "/v1/log/tile/0/000.p/2",
	} {
		if got := r.send(t, "GET", path, "", ""); got.status != http.StatusNotFound || strings.Contains(got.body, "PRIVATE") {
			t.Errorf("%s: %+v", path, got)
		}
	}
}
