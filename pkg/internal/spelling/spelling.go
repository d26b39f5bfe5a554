package spelling

import "strings"

// longest name that is compared, in bytes: the time grows with the square.
const longest = 64

// Nearest returns the one of the names that is a typing error away from a name,
// or "". Upper and lower case count as the same.
func Nearest(name string, names []string) string {
	if len(name) > longest {
		return ""
	}
	best, nearest := 1+max(1, len(name)/3), ""
	for _, candidate := range names {
		if strings.EqualFold(name, candidate) {
			return candidate
		}
		if away := distance(strings.ToLower(name), strings.ToLower(candidate)); away < best {
			best, nearest = away, candidate
		}
	}
	return nearest
}

// distance is Levenshtein's: how many letters to add, drop or replace.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
