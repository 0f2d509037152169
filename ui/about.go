package ui

import (
	"net/http"
	"path/filepath"

	"github.com/taskwatch/taskwatch/filter"
	stock "github.com/taskwatch/taskwatch/modules"
)

// about describes what is shown, and the names for expressions.
type about struct {
	File      string        `json:"file,omitempty"` // its name
	Live      bool          `json:"live"`           // it is a daemon
	Names     []filter.Name `json:"names"`
	Functions []string      `json:"functions"`
	Stock     []stockModule `json:"stock"` // that can be loaded
}

type stockModule struct {
	Name    string `json:"name"`
	Summary string `json:"summary"`
}

func (s *Server) about(w http.ResponseWriter, _ *http.Request) {
	a := about{Live: s.feed != nil, Names: filter.Names(), Functions: filter.Functions(), Stock: []stockModule{}}
	if s.cfg.File != "" {
		a.File = filepath.Base(s.cfg.File)
	}
	for _, m := range stock.All() {
		if s.feed != nil && m.Object() != nil {
			a.Stock = append(a.Stock, stockModule{m.Name, m.Summary})
		}
	}
	answer(w, a)
}

// serveStock serves the file of a stock module.
func serveStock(w http.ResponseWriter, r *http.Request) {
	m := stock.Find(r.PathValue("name"))
	if m == nil || m.Object() == nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	_, _ = w.Write(m.Object()) // the browser may be gone
}
