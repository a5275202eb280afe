package lookup

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"unicode"

	"mayfly/retention/receipts"
)

// Limits of requests.
const (
	DefaultLimit = 10_000
	MaxLimit     = 100_000
)

// Request is one question: exactly one of IP, Prefix and Account.
type Request struct {
	IP        string   `json:"ip,omitempty" doc:"IPv4 or IPv6 address; an IPv6 /64 counts as one address" example:"203.0.113.7"`
	Prefix    string   `json:"prefix,omitempty" doc:"IPv4 /16 to /32 or IPv6 /32 to /128; host bits are ignored" example:"203.0.113.0/24"`
	Account   string   `json:"account,omitempty" doc:"account, exactly as the events name it"`
	Port      *int     `json:"port,omitempty" minimum:"0" maximum:"65535" doc:"source port; only events whose port or port block is known and contains it"`
	At        string   `json:"at,omitempty" format:"date-time" doc:"a moment, RFC 3339 with a zone: connections that were open then"`
	Tolerance string   `json:"tolerance,omitempty" doc:"how far clocks may differ around at, up to 24h" default:"60s" example:"60s"`
	From      string   `json:"from,omitempty" format:"date-time" doc:"events at or after this time; default: all that is readable"`
	To        string   `json:"to,omitempty" format:"date-time" doc:"events at or before this time; default: now"`
	Policies  []string `json:"policies,omitempty" doc:"only events kept under these policies; default: all"`
	Limit     int      `json:"limit,omitempty" minimum:"1" maximum:"100000" doc:"most events to answer; default 10,000, in a batch 1,000"`
	Case      string   `json:"case" maxLength:"64" pattern:"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$" doc:"the ticket this look-up belongs to; kept for good"`
	Reason    string   `json:"reason" enum:"abuse-report,spam,fraud,account-takeover,attack,legal-order,safety,test" doc:"why"`
}

// Refusal says why a request can't be answered. Its text never quotes the request.
type Refusal struct {
	Field   string // the request's field, "" for the whole
	Message string
}

// Error is the field and the message.
func (r *Refusal) Error() string {
	if r.Field == "" {
		return r.Message
	}
	return r.Field + ": " + r.Message
}

func refuse(field, format string, values ...any) *Refusal {
	return &Refusal{Field: field, Message: fmt.Sprintf(format, values...)}
}

// ErrSyntax is the *Refusal of a body that can't be read at all.
var ErrSyntax error = refuse("", "the body must be one JSON object of the documented fields")

// DecodeRequest reads one JSON object. Unknown fields are refused: a misspelt
// "port" must not widen a look-up. The error is a *Refusal.
func DecodeRequest(data []byte) (Request, error) {
	var r Request
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(&r)
	var mistyped *json.UnmarshalTypeError
	switch {
	case errors.As(err, &mistyped) && slices.Contains(requestFields, mistyped.Field):
		return Request{}, refuse(mistyped.Field, "must be a %s", typeName(mistyped.Type))
	case err != nil:
		return Request{}, ErrSyntax
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) || !eachOnce(data) {
		return Request{}, ErrSyntax
	}
	return r, nil
}

// eachOnce reports whether an object has each field once, and spelled as documented. A
// proxy before the desk must not read another case or subject in it than the desk does.
func eachOnce(object []byte) bool {
	decoder := json.NewDecoder(bytes.NewReader(object))
	if brace, err := decoder.Token(); err != nil || brace != json.Delim('{') {
		return false
	}
	seen := map[string]bool{}
	for decoder.More() {
		token, err := decoder.Token()
		name, ok := token.(string)
		if err != nil || !ok || seen[name] || !slices.Contains(requestFields, name) {
			return false
		}
		seen[name] = true
		var value json.RawMessage
		if decoder.Decode(&value) != nil {
			return false
		}
	}
	return true
}

// requestFields are the JSON names of Request.
var requestFields = func() (names []string) {
	for field := range reflect.TypeFor[Request]().Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		names = append(names, name)
	}
	return names
}()

func typeName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Int:
		return "whole number"
	case reflect.Slice:
		return "list of strings"
	default:
		return "string"
	}
}

// checkCase checks what the receipt will keep of a request. The account must not
// hide in the case's name.
func checkCase(name, reason, account string) error {
	if err := receipts.CheckCase(name); err != nil {
		return refuse("case", "%v", err)
	}
	if err := receipts.CheckReason(reason); err != nil {
		return refuse("reason", "%v", err)
	}
	if account != "" && strings.Contains(dashed(name), dashed(account)) {
		return refuse("case", "contains the account, and a case is kept for good: use the ticket's own name")
	}
	return nil
}

// dashed spells s in a way that cases can: "Ada@example.org" is "-ada-example-org-".
func dashed(s string) string {
	return "-" + strings.Map(func(c rune) rune {
		if unicode.IsLetter(c) || unicode.IsDigit(c) {
			return unicode.ToLower(c)
		}
		return '-'
	}, s) + "-"
}
