package abuse

import (
	"fmt"
	"net"
	"net/http"
	"runtime/debug"
	"slices"

	"github.com/danielgtaylor/huma/v2"
	"go.uber.org/zap"
)

// policy of what the page may load and do: things of this origin only.
const contentSecurityPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// guard stands before every route.
func (d *Desk) guard(mux *http.ServeMux) http.Handler {
	origins := http.NewCrossOriginProtection()
	origins.SetDenyHandler(problem(http.StatusForbidden, "a page of another origin may not ask the desk"))
	routed := origins.Handler(route(mux))
	asked := keepsNothing(routed)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer d.recovered(w)
		header := w.Header()
		header.Set("Cache-Control", "no-store")
		header.Set("Content-Security-Policy", contentSecurityPolicy)
		header.Set("Cross-Origin-Resource-Policy", "same-origin")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("X-Content-Type-Options", "nosniff")
		if !d.knowsHost(r.Host) {
			problem(http.StatusMisdirectedRequest, "this desk listens on loopback and is not known under that host name: see desk.hosts").ServeHTTP(w, r)
			return
		}
		if r.Method == http.MethodPost { // nothing else is told an address, or tells one
			asked.ServeHTTP(w, r)
			return
		}
		routed.ServeHTTP(w, r)
	})
}

// knowsHost keeps web pages out whose own name resolves to loopback: to the
// browser they would be of the desk's origin.
func (d *Desk) knowsHost(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	if len(host) > 1 && host[0] == '[' {
		host = host[1 : len(host)-1]
	}
	return !d.config.loopback() || isLoopback(host) || slices.Contains(d.config.Hosts, host)
}

// route answers what the mux does not know in the form of RFC 9457 too.
func route(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler, pattern := mux.Handler(r)
		if pattern != "" {
			mux.ServeHTTP(w, r)
			return
		}
		refused := &statusOnly{header: w.Header()}
		handler.ServeHTTP(refused, r)
		detail := "there is nothing here: see /openapi.json"
		if refused.status == http.StatusMethodNotAllowed {
			detail = "another method is needed: see the Allow header"
		}
		problem(refused.status, detail).ServeHTTP(w, r)
	})
}

// statusOnly takes a response's status and headers and drops its body.
type statusOnly struct {
	header http.Header
	status int
}

func (s *statusOnly) Header() http.Header         { return s.header }
func (s *statusOnly) WriteHeader(status int)      { s.status = status }
func (s *statusOnly) Write(p []byte) (int, error) { return len(p), nil }

func problem(status int, detail string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, status, "application/problem+json",
			huma.ErrorModel{Title: http.StatusText(status), Status: status, Detail: detail})
	})
}

// recovered keeps a panic's value, which may hold a part of the request, out of
// the log; net/http would print it.
func (d *Desk) recovered(w http.ResponseWriter) {
	if v := recover(); v != nil {
		d.log.Error("request panicked", zap.String("type", fmt.Sprintf("%T", v)), zap.ByteString("stack", debug.Stack()))
		problem(http.StatusInternalServerError, "a fault of the desk's own; its log says where").ServeHTTP(w, nil)
	}
}
