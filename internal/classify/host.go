package classify

import (
	"bufio"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"
)

// host looks up the users and groups of this machine.
type host struct{}

// User implements accounts.
func (host) User(name string) (uint32, error) {
	if id, err := strconv.ParseUint(name, 10, 32); err == nil {
		return uint32(id), nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return 0, fmt.Errorf("user %q is unknown here; give one that exists, or a number", name)
	}
	id, err := strconv.ParseUint(u.Uid, 10, 32)
	return uint32(id), err
}

// Group implements accounts. Members who are unknown here are left out.
func (h host) Group(name string) (gid uint32, members []uint32, err error) {
	if id, err := strconv.ParseUint(name, 10, 32); err == nil {
		return uint32(id), nil, nil
	}
	g, err := user.LookupGroup(name)
	if err != nil {
		return 0, nil, fmt.Errorf("group %q is unknown here; give one that exists, or a number", name)
	}
	id, err := strconv.ParseUint(g.Gid, 10, 32)
	if err != nil {
		return 0, nil, err
	}
	f, err := os.Open("/etc/group")
	if err != nil {
		return uint32(id), nil, nil // the group comes from elsewhere
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Split(lines.Text(), ":")
		if len(fields) != 4 || fields[0] != name || fields[3] == "" {
			continue
		}
		for _, member := range strings.Split(fields[3], ",") {
			if uid, err := h.User(member); err == nil {
				members = append(members, uid)
			}
		}
	}
	return uint32(id), members, nil
}
