package catalog

import (
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// unfinished begins the names of what is being written or removed.
const unfinished = ".tmp-"

// random returns n characters of [a-z0-9].
func random(n int) string {
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789"
	name := make([]byte, 0, n)
	for len(name) < n {
		var b [32]byte
		rand.Read(b[:])
		for _, x := range b {
			if int(x) < 256/len(letters)*len(letters) && len(name) < n { // the rest would favour the first letters
				name = append(name, letters[int(x)%len(letters)])
			}
		}
	}
	return string(name)
}

// tidy removes what a killed process left unfinished in dir.
func tidy(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return onDisk(err, "tidy up")
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), unfinished) {
			if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				return onDisk(err, "tidy up")
			}
		}
	}
	return nil
}

// syncTree brings the files of a folder, and the folder, to disk.
func syncTree(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := syncPath(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return syncPath(dir)
}

// syncPath brings a file, or a folder's list of names, to disk.
func syncPath(at string) error {
	f, err := os.Open(at)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// discard takes at, a file or folder, out of its folder at once and then
// removes it. A crash in between leaves only what tidy removes.
func discard(at string) error {
	dir := filepath.Dir(at)
	gone := filepath.Join(dir, unfinished+random(16))
	if err := os.Rename(at, gone); err != nil {
		return err
	}
	return errors.Join(syncPath(dir), os.RemoveAll(gone))
}

func full(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }
