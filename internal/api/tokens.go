package api

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"slices"
	"strings"

	"github.com/scloudstack/pharos/internal/bounded"
	"github.com/scloudstack/pharos/policy"
)

// minToken is the shortest token that is taken: anything shorter was made up
// by a person and can be guessed.
const minToken = 20

// token is one line of a tokens file. Only its hash is kept in memory.
type token struct {
	hash [sha256.Size]byte
	role Role
	name string
}

// tokens reads the tokens file: one "TOKEN ROLE NAME" a line, # starts a
// comment. What it finds wrong never shows a token.
func (f *files) tokens() []token {
	const key = "api.tokens_file"
	path := f.cfg.TokensFile
	data, err := bounded.ReadFile(path, maxFile, 0o027)
	if err != nil {
		f.fail(key, err)
		return nil
	}
	var tokens []token
	lines := bufio.NewScanner(bytes.NewReader(data))
	for n := 1; lines.Scan(); n++ {
		t, err := parseToken(lines.Text())
		if err == nil && t != nil && slices.ContainsFunc(tokens, func(other token) bool { return other.hash == t.hash || other.name == t.name }) {
			err = fmt.Errorf("the token or the name %s is there already", t.name)
		}
		switch {
		case err != nil:
			f.fail(key, fmt.Errorf("%s:%d: %w", path, n, err))
		case t != nil:
			tokens = append(tokens, *t)
		}
	}
	if err := lines.Err(); err != nil {
		f.fail(key, fmt.Errorf("%s: %w", path, err))
	}
	return tokens
}

func parseToken(line string) (*token, error) {
	line, _, _ = strings.Cut(line, "#")
	fields := strings.Fields(line)
	if len(fields) == 0 {
		return nil, nil
	}
	if len(fields) != 3 {
		return nil, fmt.Errorf("%d words: expected TOKEN ROLE NAME", len(fields))
	}
	if len(fields[0]) < minToken {
		return nil, fmt.Errorf("the token has %d characters: expected %d or more (openssl rand -hex 32)", len(fields[0]), minToken)
	}
	role, err := ParseRole(fields[1])
	if err != nil {
		return nil, err
	}
	if policy.Printable(fields[2]) != fields[2] { // it is the author of orders
		return nil, fmt.Errorf("the name %q has characters that are not printable", fields[2])
	}
	return &token{hash: sha256.Sum256([]byte(fields[0])), role: role, name: fields[2]}, nil
}

// findToken looks a presented token up in a time that does not depend on how
// much of it is right: hashes are compared whole, and always all of them.
func findToken(tokens []token, presented string) (token, bool) {
	hash := sha256.Sum256([]byte(presented))
	found := -1
	for i := range tokens {
		found = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(tokens[i].hash[:], hash[:]), i, found)
	}
	if found < 0 {
		return token{}, false
	}
	return tokens[found], true
}
