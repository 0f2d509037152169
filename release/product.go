package main

// product is a program with packages and an image of its own.
type product struct {
	name        string // of the program, and of all that is made of it
	module      string // the directory of its Go module
	summary     string
	description string

	files     map[string]string // by where they are installed: sources in the repository
	config    []string          // those of them that are the administrator's: kept when they were changed
	documents []string
	stock     bool // it has the stock modules and completions
	image     imageConfig
}

// imageConfig is how a container of an image begins.
type imageConfig struct {
	parts   []string // of the tree that are in the image, beside licences
	command []string // the arguments of the program
	user    int      // whose process it is, and whose volume
	volume  string   // what the program keeps, or ""
	port    string   // where it listens, or ""
	roots   bool     // it calls servers whose authorities it has to know
}

// products are what a release has.
var products = []*product{
	{
		name: "taskwatch", module: ".",
		summary: "Calls watchers on the life of every task",
		description: "taskwatch watches tasks as they are initialised and cloned, run programs, change\n" +
			"their ids, exit and are freed. It calls modules on these events, in the kernel or\n" +
			"in a sandbox, and records them.",
		files: map[string]string{
			"/usr/lib/systemd/system/taskwatch.service": "daemon/systemd/taskwatch.service",
			"/usr/lib/sysusers.d/taskwatch.conf":        "daemon/systemd/taskwatch.sysusers",
			"/etc/taskwatch/taskwatch.toml":             "daemon/systemd/taskwatch.toml",
		},
		config:    []string{"/etc/taskwatch/taskwatch.toml"},
		documents: []string{"LICENSE", "LICENSES/GPL-2.0-only.txt", "LICENSES/BSD-2-Clause.txt", "README.md", "CHANGELOG.md"},
		stock:     true,
		image:     imageConfig{parts: []string{"/usr/bin/", "/usr/lib/taskwatch/", "/etc/taskwatch/"}, command: []string{"serve"}, roots: true},
	},
	{
		name: "taskwatch-hub", module: "fleet/hub",
		summary: "Serves a fleet of machines that run taskwatch",
		description: "taskwatch-hub keeps which modules the machines of a fleet are to run, passes on\n" +
			"questions and their answers, and has an audit trail.",
		files: map[string]string{
			"/usr/lib/systemd/system/taskwatch-hub.service": "fleet/hub/systemd/taskwatch-hub.service",
			"/usr/lib/sysusers.d/taskwatch-hub.conf":        "fleet/hub/systemd/taskwatch-hub.sysusers",
			"/etc/default/taskwatch-hub":                    "fleet/hub/systemd/taskwatch-hub.default",
		},
		config:    []string{"/etc/default/taskwatch-hub"},
		documents: []string{"LICENSE", "CHANGELOG.md", "docs/fleet.md"},
		image: imageConfig{
			parts: []string{"/usr/bin/"}, command: []string{"--dir", "/var/lib/taskwatch-hub"},
			user: 65532, volume: "/var/lib/taskwatch-hub", port: "4222/tcp",
		},
	},
}
