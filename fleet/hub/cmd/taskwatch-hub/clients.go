package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/taskwatch/taskwatch/fleet"
	"github.com/taskwatch/taskwatch/fleet/hub"
	"github.com/taskwatch/taskwatch/internal/clean"
	"github.com/taskwatch/taskwatch/internal/table"
)

// enroll prints a token.
func enroll(out, errs io.Writer, o *options) error {
	role, err := fleet.ParseRole(o.role)
	if err != nil {
		return fmt.Errorf("--role: %w", err)
	}
	_, missing := os.Stat(o.dir)
	t, err := hub.Enroll(o.dir, role, o.name, o.life)
	if err != nil {
		return err
	}
	if errors.Is(missing, fs.ErrNotExist) {
		if _, err := fmt.Fprintf(errs, "taskwatch-hub: %s was not there, and was made; the token is for a hub that is started with it\n", o.dir); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintln(out, t)
	return err
}

// listed is a client as clients shows it in JSON.
type listed struct {
	Token    string     `json:"token"` // its id, which is no secret
	Role     fleet.Role `json:"role"`
	Name     string     `json:"name,omitempty"`
	State    string     `json:"state"`
	Rejected int        `json:"rejected"` // other keys that have shown the token
	Key      string     `json:"key,omitempty"`
	Made     time.Time  `json:"made"`
	Expires  time.Time  `json:"expires"` // the token, while it is not used
	Enrolled *time.Time `json:"enrolled,omitempty"`
	Address  string     `json:"address,omitempty"` // that it has enrolled from
	Revoked  *time.Time `json:"revoked,omitempty"`
}

func stateOf(c *hub.Client) string {
	switch {
	case c.Gone != nil:
		return "revoked"
	case c.Key != "":
		return "enrolled"
	case time.Now().After(c.Expires):
		return "expired"
	}
	return "not used"
}

// list shows the clients.
func list(out io.Writer, o *options) error {
	clients, err := hub.Clients(o.dir)
	if err != nil {
		return err
	}
	all := []listed{}
	t := table.NewLeft("TOKEN", "ROLE", "NAME", "STATE", "REJECTED", "KEY")
	for _, c := range clients {
		l := listed{c.ID, c.Role, c.Name, stateOf(c), c.Abuse, c.Key, c.Made, c.Expires, c.Used, c.Addr, c.Gone}
		all = append(all, l)
		t.Row(l.Token, string(l.Role), clean.Text(cmp.Or(l.Name, "-")), l.State, fmt.Sprint(l.Rejected), cmp.Or(l.Key, "-"))
	}
	if o.form == "json" {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		return enc.Encode(all)
	}
	return t.Write(out)
}
