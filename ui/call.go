package ui

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
)

// procedures are the procedures of the daemon that a page may call.
var procedures = []string{"Status", "List", "Info", "Params", "Globals", "Stats", "Load", "Unload"}

// call passes a call on to the daemon: only the body, and with the rights of this
// process. The daemon limits the size.
func (s *Server) call(w http.ResponseWriter, r *http.Request) {
	procedure := r.PathValue("procedure")
	if !slices.Contains(procedures, procedure) {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	res, err := s.cfg.Daemon.Call(r.Context(), procedure, r.Body)
	if err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		_ = json.NewEncoder(w).Encode(map[string]string{"code": "unavailable", "message": s.cfg.Daemon.Explain(err).Error()}) // the browser may be gone
		return
	}
	defer res.Body.Close()
	w.WriteHeader(res.StatusCode)
	_, _ = io.Copy(w, res.Body) // the browser may be gone
}
