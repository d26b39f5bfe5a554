// Package spelling finds the name that somebody probably meant.
package spelling
