package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/taskwatch/taskwatch/fleet"
	"github.com/taskwatch/taskwatch/module/host"
)

// kept is what a node remembers of a module when it is started again.
type kept struct {
	Seen   fleet.Signed  `json:"seen"`             // of the highest generation that was accepted
	Active *fleet.Signed `json:"active,omitempty"` // what runs, or ran last; an earlier one where Seen failed
}

// disk is the directory of a node.
type disk struct{ dir string }

const keptFile = "modules.json"

func (d *disk) load() (map[string]*kept, error) {
	all := map[string]*kept{}
	b, err := os.ReadFile(filepath.Join(d.dir, keptFile))
	if errors.Is(err, fs.ErrNotExist) {
		return all, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &all)
	}
	if err != nil {
		return nil, fmt.Errorf("fleet: %s: %w; without this file, the node forgets which entries it has seen, and takes what the hub has: move it away if that may be", filepath.Join(d.dir, keptFile), err)
	}
	return all, nil
}

func (d *disk) save(all map[string]*kept) error {
	b, err := json.MarshalIndent(all, "", "\t")
	if err != nil {
		return err
	}
	return fleet.SaveFile(filepath.Join(d.dir, keptFile), append(b, '\n'))
}

func (d *disk) path(digest string) string { return filepath.Join(d.dir, "files", digest) }

// file returns the file of a digest if it is there and whole.
func (d *disk) file(digest string) []byte {
	b, err := os.ReadFile(d.path(digest))
	if err != nil || len(b) > host.MaxFileSize || fleet.Digest(b) != digest {
		return nil
	}
	return b
}

func (d *disk) saveFile(digest string, b []byte) error {
	if err := os.MkdirAll(filepath.Dir(d.path(digest)), 0o700); err != nil {
		return err
	}
	return fleet.SaveFile(d.path(digest), b)
}

// prune removes the files that are not needed.
func (d *disk) prune(needed map[string]bool) error {
	files, err := os.ReadDir(filepath.Join(d.dir, "files"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, f := range files {
		if !needed[f.Name()] {
			err = errors.Join(err, os.Remove(d.path(f.Name())))
		}
	}
	return err
}
