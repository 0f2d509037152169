package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// writeMan writes the man page into a directory.
func writeMan(args []string) error {
	if len(args) != 1 {
		return errors.New("give one directory that exists: taskwatch-hub man DIR")
	}
	return os.WriteFile(filepath.Join(args[0], "taskwatch-hub.1"), []byte(manPage()), 0o644)
}

// manPage returns the man page: the text of --help. Its date is that of the
// release, and does not depend on when it was made.
func manPage() string {
	date := ""
	if t, err := time.Parse(time.RFC3339, releaseTime); err == nil {
		date = t.Format("Jan 2006")
	}
	forms, text, _ := strings.Cut(strings.TrimPrefix(usage, "Usage:\n"), "\n\n")
	var b strings.Builder
	b.WriteString(`.TH "TASKWATCH-HUB" "1" "` + date + `" "taskwatch" "taskwatch"` + "\n")
	b.WriteString(".SH NAME\ntaskwatch\\-hub \\- Serves a fleet of machines that run taskwatch\n.SH SYNOPSIS\n.nf\n")
	for line := range strings.Lines(forms) {
		b.WriteString(roff(strings.TrimSpace(line)) + "\n")
	}
	b.WriteString(".fi\n.SH DESCRIPTION\n")
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line == "" {
			line = ".PP"
		} else {
			line = roff(line)
		}
		b.WriteString(line + "\n")
	}
	b.WriteString(".SH SEE ALSO\n.BR taskwatch\\-fleet (1)\n")
	return b.String()
}

// roff returns a line of text as man reads it.
func roff(line string) string {
	line = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(line)
	if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
		line = `\&` + line
	}
	return line
}
