package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/scloudstack/pharos/internal/api"
	"github.com/scloudstack/pharos/internal/config"
)

// durationFlag is a length of time, written as in the configuration.
type durationFlag struct {
	value *time.Duration
	least time.Duration
	ttl   bool // of whole seconds, as DNS counts them
}

func (f durationFlag) add(cmd *cobra.Command, name string, start time.Duration, usage string) {
	*f.value = start
	cmd.Flags().Var(f, name, usage)
}

func (f durationFlag) Type() string { return "duration" }

func (f durationFlag) String() string {
	if f.value == nil || *f.value == 0 {
		return ""
	}
	return api.Duration(*f.value).String()
}

func (f durationFlag) Set(text string) error {
	v, err := config.ParseDuration(text)
	switch {
	case err != nil:
		return err
	case v < f.least:
		return fmt.Errorf("expected %s or longer", api.Duration(f.least))
	case f.ttl && v%time.Second != 0:
		return errors.New("expected whole seconds: DNS counts TTLs in them")
	}
	*f.value = v
	return nil
}
