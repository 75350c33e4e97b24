package gguf

import "os"

// DecodeCut decodes a mapping of the file at path after it was cut to size.
func DecodeCut(path string, size int64) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	b, err := mapFile(f, info.Size())
	if err != nil {
		return err
	}
	defer unmap(b)
	if err := os.Truncate(path, size); err != nil {
		return err
	}
	_, err = decodeMapped("cut.gguf", b)
	return err
}
