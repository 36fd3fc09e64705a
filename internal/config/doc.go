// Package config is the one parser of the configuration: YAML files in, the
// parts' own settings types out, or every error with its file, line and column.
//
// The files become a tree of located nodes (source.go, load.go). A small
// declarative layer (object.go, scalars.go) reads that tree and collects errors
// instead of stopping at the first; the schema is written in its terms, one file
// a section. What is found wrong, also across sections, is reported all at once
// in the order of the files. The package opens no sockets and keeps no
// goroutines; it reads the configuration's own files and nothing else.
package config
