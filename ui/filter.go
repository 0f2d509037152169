package ui

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/enrich"
	"github.com/taskwatch/taskwatch/filter"
)

// mistake describes an error in an expression.
type mistake struct {
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
	Line    int    `json:"line,omitempty"` // from 1; 0 where the place is the whole
	Column  int    `json:"column"`         // from 0, in characters
}

// shown are the events of a timeline.
const shown = taskwatch.Kinds(1<<taskwatch.Clone | 1<<taskwatch.Exec | 1<<taskwatch.UID | 1<<taskwatch.GID | 1<<taskwatch.Exit)

// names returns what looks up the names of containers. Those of a recording may be
// gone, or of another machine.
func (s *Server) names() *enrich.Names {
	if s.feed == nil {
		return nil
	}
	return s.cfg.ContainerNames
}

// chosen reads the expression of a request, if it has one. It answers a mistake.
func (s *Server) chosen(w http.ResponseWriter, r *http.Request) (choose *filter.Filter, ok bool) {
	where := r.URL.Query().Get("where")
	if where == "" {
		return nil, true
	}
	choose, m := s.parse(where)
	if m != nil {
		http.Error(w, m.Message, http.StatusBadRequest)
	}
	return choose, m == nil
}

// parse reads an expression. It must be able to match something that is shown.
func (s *Server) parse(expr string) (*filter.Filter, *mistake) {
	f, err := filter.Parse(expr, filter.Options{Names: s.names()})
	var e *filter.Error
	switch {
	case errors.As(err, &e):
		return nil, &mistake{e.Message, e.Hint, e.Line, e.Column}
	case err != nil:
		return nil, &mistake{Message: err.Error()}
	case f.Never():
		return nil, &mistake{Message: "no event can match"}
	case f.Kinds()&shown == 0 && !f.Records() && !f.FailedExecs():
		return nil, &mistake{Message: fmt.Sprintf("it is about %s, which a timeline does not show", f.Kinds()), Hint: "there are " + shown.String()}
	}
	if more := f.Reads() & taskwatch.OptionalFields &^ s.cfg.Fields; more != 0 && s.feed != nil {
		names := strings.Join(more.Names(), ",")
		return nil, &mistake{Message: "the daemon was not asked for " + names, Hint: "start 'taskwatch ui --fields " + names + "'"}
	}
	return f, nil
}

// checkFilter answers with the mistake in an expression, or with null.
func (s *Server) checkFilter(w http.ResponseWriter, r *http.Request) {
	_, m := s.parse(r.URL.Query().Get("where"))
	answer(w, m)
}

// answer answers with JSON.
func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the browser may be gone
}
