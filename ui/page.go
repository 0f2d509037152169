package ui

import (
	"bytes"
	"embed"
	"mime"
	"net/http"
	"path"
	"strings"

	"github.com/taskwatch/taskwatch/sink/html"
)

// files are those of the pages, around the timeline's.
//
//go:embed page
var files embed.FS

const head = `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>taskwatch</title>
<link rel="stylesheet" href="/timeline/style.css">
<link rel="stylesheet" href="/page/ui.css">
<script type="module" src="/page/ui.js"></script>
</head>
`

// servePage serves the page: that of a timeline in a file, with more around it.
func servePage(w http.ResponseWriter, _ *http.Request) {
	read := func(name string) []byte {
		b, err := files.ReadFile("page/" + name)
		if err != nil {
			panic(err) // it is embedded
		}
		return b
	}
	timeline, err := html.Page.ReadFile("page/body.html")
	if err != nil {
		panic(err) // it is embedded
	}
	_, timeline, _ = bytes.Cut(timeline, []byte("<body>\n"))
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	for _, part := range [][]byte{[]byte(head), read("top.html"), timeline, read("bottom.html")} {
		if _, err := w.Write(part); err != nil {
			return // the browser is gone
		}
	}
}

func serveFile(w http.ResponseWriter, r *http.Request) { serveEmbedded(w, r, files) }

func serveTimelineFile(w http.ResponseWriter, r *http.Request) { serveEmbedded(w, r, html.Page) }

// serveEmbedded serves a style or a script.
func serveEmbedded(w http.ResponseWriter, r *http.Request, from embed.FS) {
	name := r.PathValue("name")
	b, err := from.ReadFile("page/" + name)
	if err != nil || strings.HasSuffix(name, ".html") {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", mime.TypeByExtension(path.Ext(name)))
	_, _ = w.Write(b) // the browser may be gone
}
