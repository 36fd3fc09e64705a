package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/scloudstack/pharos/policy"
)

// Error is the body of every refusal and failure: problem details (RFC 9457)
// with what a person needs to go on.
type Error struct {
	huma.ErrorModel
	Rule       string    `json:"rule,omitempty" doc:"the safety rule that refused an order" example:"last-endpoint"`
	BreakGlass bool      `json:"break_glass,omitempty" doc:"whether break_glass with the rule's name passes it"`
	Problems   []Problem `json:"problems,omitempty" doc:"faults in a file, each in its place"`
}

func newError(status int, format string, args ...any) *Error {
	e := &Error{}
	e.Status, e.Title, e.Detail = status, http.StatusText(status), fmt.Sprintf(format, args...)
	return e
}

// Error is the detail, and what huma found wrong with a request.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Detail)
	for _, d := range e.Errors {
		b.WriteString("; " + strings.TrimPrefix(d.Location+": ", ": ") + d.Message)
	}
	if b.Len() == 0 {
		return fmt.Sprintf("%d %s", e.Status, e.Title)
	}
	return b.String()
}

// fault turns a Backend's error into what is sent.
func fault(err error) error {
	var (
		sent     *Error
		refusal  *policy.Refusal
		rejected *Rejected
	)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &sent):
		return sent
	case errors.As(err, &refusal):
		e := newError(http.StatusConflict, "%s", refusal.Text)
		e.Rule, e.BreakGlass = refusal.Rule, refusal.Break
		return e
	case errors.As(err, &rejected):
		e := newError(http.StatusUnprocessableEntity, "%s was refused; what ran before keeps running", rejected.What)
		e.Problems = rejected.Problems
		return e
	case errors.Is(err, ErrNotFound):
		return newError(http.StatusNotFound, "%s", without(err, ErrNotFound))
	case errors.Is(err, ErrInvalid):
		return newError(http.StatusUnprocessableEntity, "%s", without(err, ErrInvalid))
	case errors.Is(err, ErrConflict):
		return newError(http.StatusConflict, "%s", without(err, ErrConflict))
	case errors.Is(err, ErrDegraded):
		return newError(http.StatusServiceUnavailable, "%s", without(err, ErrDegraded))
	case errors.Is(err, context.Canceled):
		return newError(http.StatusServiceUnavailable, "the request was given up: %s", err)
	case errors.Is(err, context.DeadlineExceeded):
		return newError(http.StatusServiceUnavailable, "the node did not answer in time: %s", err)
	default:
		return newError(http.StatusInternalServerError, "%s", err)
	}
}

// without is the text of an error less the sentinel in front, which the status
// says already.
func without(err, sentinel error) string {
	return strings.TrimPrefix(err.Error(), sentinel.Error()+": ")
}
