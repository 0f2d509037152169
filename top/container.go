package top

import "github.com/taskwatch/taskwatch/internal/clean"

// container returns the shortened id of the container that a cgroup belongs to.
func (m *Model) container(cgroup string) string {
	id := m.places.Locate(cgroup).ID
	if len(id) <= shortID {
		return id
	}
	short := id[:shortID]
	if m.Names != nil && m.ids[short] == "" {
		if m.ids == nil || len(m.ids) >= maxGroups {
			m.ids = map[string]string{}
		}
		m.ids[short] = id
		m.Names.Of(id) // asks for it, so that it is there when it is shown
	}
	return short
}

// containerName returns a shortened id, with the name of the container in front
// of it as soon as that is known.
func (m *Model) containerName(short string) string {
	if m.Names == nil {
		return short
	}
	id := m.ids[short]
	if id == "" {
		id = short
	}
	if c, ok := m.Names.Of(id); ok && c.Name != "" {
		return clean.Text(c.Name) + " " + short
	}
	return short
}

// shortID is how much is shown of a container's id.
const shortID = 12
