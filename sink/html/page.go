package html

import (
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"strings"
)

// Page holds the files of the page.
//
//go:embed page
var Page embed.FS

// scripts are the modules of the page, each after those that it imports.
var scripts = []string{"format.js", "element.js", "model.js", "draw.js", "details.js", "table.js", "input.js", "app.js", "load.js"}

func file(name string) string {
	b, err := Page.ReadFile("page/" + name)
	if err != nil {
		panic(err) // it is embedded
	}
	return string(b)
}

// script joins the modules into one script. This works because imports are on
// lines of their own, exports too or before what they export, and all names
// differ.
func script() string {
	var b strings.Builder
	b.WriteString("'use strict';\n")
	for _, name := range scripts {
		for line := range strings.Lines(file(name)) {
			if !strings.HasPrefix(line, "import ") && !strings.HasPrefix(line, "//") {
				b.WriteString(strings.TrimPrefix(line, "export "))
			}
		}
	}
	return b.String()
}

// head returns the page up to its data. Its Content Security Policy allows only
// the style and the script with the hashes in it.
func head() string {
	css, js := file("style.css"), script()
	body := file("body.html")
	policy := fmt.Sprintf("default-src 'none'; style-src '%s'; script-src '%s'; base-uri 'none'; form-action 'none'", hash(css), hash(js))
	return "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n" +
		"<meta http-equiv=\"Content-Security-Policy\" content=\"" + policy + "\">\n" +
		"<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n" +
		"<title>taskwatch</title>\n<style>" + css + "</style>\n<script>" + js + "</script>\n</head>\n" +
		body + dataHead
}

const (
	dataHead = "<script type=\"text/plain\" id=\"data\">"
	tail     = "</script>\n</body>\n</html>\n"
)

func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}
