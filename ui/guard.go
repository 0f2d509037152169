package ui

import (
	"net"
	"net/http"
	"strings"
)

// policy allows only what this server serves. Other pages cannot show it in a
// frame.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// guard rejects requests unless they come from a page of this server in an
// admitted browser.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		token := r.URL.Query().Get("token")
		switch link := r.URL.Path == "/" && r.Method == http.MethodGet; {
		case !isLoopback(hostName(r.Host)):
			// A foreign name may lead to this machine (DNS rebinding).
			reject(w, "host "+r.Host+": this page is served for 127.0.0.1 and localhost only")
		case !sameOrigin(r, link):
			reject(w, "this request comes from another page")
		case link && token != "":
			s.enter(w, r, token)
		case !s.admitted(r):
			reject(w, "this browser has not been let in; open the link that 'taskwatch ui' has printed. If you have just done so, reload this page")
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// hostName returns a host without its port. A tunnel may use another port.
func hostName(hostport string) string {
	if host, _, err := net.SplitHostPort(hostport); err == nil {
		return host
	}
	return strings.Trim(hostport, "[]")
}

// sameOrigin reports whether a request comes from a page of this server, or from
// the user, who may follow a link from anywhere. A cookie proves nothing, because
// browsers also send it from pages at other ports.
func sameOrigin(r *http.Request, link bool) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none":
	default:
		if !link || r.Header.Get("Sec-Fetch-Mode") != "navigate" {
			return false
		}
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return r.Method == http.MethodGet || r.Method == http.MethodHead
	}
	return origin == "http://"+r.Host
}

func (s *Server) admitted(r *http.Request) bool {
	c, err := r.Cookie(cookieName(r.Host))
	return err == nil && s.keys.admits(c.Value)
}

func reject(w http.ResponseWriter, text string) {
	http.Error(w, "taskwatch ui: "+text, http.StatusForbidden)
}
