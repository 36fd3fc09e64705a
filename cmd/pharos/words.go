package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/scloudstack/pharos/internal/api"
	"github.com/scloudstack/pharos/policy"
)

// health is the word for a health, in its colour.
func health(h policy.HealthState) cell {
	switch h {
	case policy.Up:
		return cs(green, h.String())
	case policy.Down:
		return cs(red, h.String())
	default:
		return cs(yellow, h.String())
	}
}

func siteList(sites []policy.SiteID) string {
	words := make([]string, len(sites))
	for i, s := range sites {
		words[i] = string(s)
	}
	return strings.Join(words, "+")
}

// overrideWord is what an override says, in a few words.
func overrideWord(o policy.Override) string {
	var words []string
	if o.Site != "" {
		words = append(words, "site "+string(o.Site))
	}
	for _, a := range o.Addresses {
		words = append(words, a.String())
	}
	if o.TTL > 0 {
		words = append(words, "ttl "+api.Duration(o.TTL).String())
	}
	return strings.Join(words, " ")
}

// byWhom is who gave an order, when, why, and until when it counts.
func byWhom(author, reason string, given, expires, now time.Time, suspended, expired bool) cell {
	s := fmt.Sprintf("by %s %s", author, ago(now, given))
	switch {
	case expired:
		s += ", over and kept"
	case !expires.IsZero():
		s += ", ends in " + length(expires.Sub(now))
	}
	if suspended {
		s += ", not followed"
	}
	return c(s + quoted(": ", reason))
}

// quoted is a prefix and what follows, or nothing where nothing follows.
func quoted(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
