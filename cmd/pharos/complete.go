package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/scloudstack/pharos/internal/api"
)

// completeTimeout is how long a shell waits for the node's words.
const completeTimeout = time.Second

// complete offers words of the running node as the first argument.
func (a *app) complete(words func(api.Status) []string) cobra.CompletionFunc {
	all := a.completeAll(words)
	return func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return all(cmd, args, typed)
	}
}

// completeAll offers words of the running node as every argument, each once.
func (a *app) completeAll(words func(api.Status) []string) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		node, err := a.client()
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		defer node.Close()
		ctx, cancel := context.WithTimeout(cmd.Context(), completeTimeout)
		defer cancel()
		s, err := node.Status(ctx)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		left := slices.DeleteFunc(words(s), func(w string) bool { return slices.Contains(args, w) })
		return left, cobra.ShellCompDirectiveNoFileComp
	}
}

func steeredNames(s api.Status) (words []string) {
	for _, svc := range s.Decision.Services {
		for _, n := range svc.Names {
			words = append(words, n.Name)
		}
	}
	return words
}

func overriddenNames(s api.Status) (words []string) {
	for _, o := range s.Decision.Overrides {
		if name, ok := strings.CutPrefix(o.Key, "name/"); ok {
			words = append(words, name)
		}
	}
	return words
}

func services(s api.Status) (words []string) {
	for _, svc := range s.Decision.Services {
		words = append(words, string(svc.Service))
	}
	return words
}

func drainable(s api.Status) (words []string) {
	for _, site := range s.Decision.Sites {
		words = append(words, "site/"+string(site.Site))
	}
	for _, svc := range s.Decision.Services {
		for _, e := range svc.Endpoints {
			for _, site := range e.Sites {
				words = append(words, "endpoint/"+string(svc.Service)+"/"+string(site))
			}
		}
	}
	return words
}

func drained(s api.Status) (words []string) {
	for _, d := range s.Decision.Drains {
		words = append(words, d.Key)
	}
	return words
}

func gates(s api.Status) (words []string) {
	for _, g := range s.Decision.Gates {
		words = append(words, g.Gate)
	}
	return words
}

func alarmCauses(s api.Status) (words []string) {
	for _, al := range s.Alarms {
		words = append(words, al.Cause)
	}
	return words
}

func zoneNames(s api.Status) (words []string) {
	for _, z := range s.Zones {
		words = append(words, z.Name)
	}
	return words
}
