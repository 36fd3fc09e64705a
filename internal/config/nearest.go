package config

import "strings"

// nearest is the word that was probably meant, or "" where none is near.
// One typing error in every three letters is near.
func nearest(found string, words []string) string {
	const longest = 64
	a := []rune(strings.ToLower(found))
	if len(a) > longest {
		return ""
	}
	best, least := "", 1+max(1, len(a)/3)
	for _, w := range words {
		b := []rune(strings.ToLower(w))
		if len(b) > longest || w == found {
			continue
		}
		if d := distance(a, b); d < least && d < max(len(a), len(b), 1) {
			best, least = w, d
		}
	}
	return best
}

// distance counts the letters to insert, delete, replace or swap with their
// neighbour to make b of a (Damerau and Levenshtein, optimal alignment).
func distance(a, b []rune) int {
	before := make([]int, len(b)+1)
	row := make([]int, len(b)+1)
	next := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range a {
		next[0] = i + 1
		for j := range b {
			change := 1
			if a[i] == b[j] {
				change = 0
			}
			next[j+1] = min(row[j+1]+1, next[j]+1, row[j]+change)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				next[j+1] = min(next[j+1], before[j-1]+1)
			}
		}
		before, row, next = row, next, before
	}
	return row[len(b)]
}
