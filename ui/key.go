package ui

import (
	"crypto/rand"
	"crypto/subtle"
	"net"
	"net/http"
	"slices"
	"sync"
)

// maxKeys limits the unused tokens and the admitted browsers. The oldest ones are
// removed.
const maxKeys = 32

// keys holds the tokens and cookies that admit browsers.
type keys struct {
	mu      sync.Mutex // guards the fields below
	tokens  []string   // of unused links
	cookies []string
}

func (k *keys) token() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return add(&k.tokens)
}

// redeem exchanges a token for a cookie. The token is invalid afterwards.
func (k *keys) redeem(token string) (cookie string, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	i := find(k.tokens, token)
	if i < 0 {
		return "", false
	}
	k.tokens = slices.Delete(k.tokens, i, i+1)
	return add(&k.cookies), true
}

func (k *keys) admits(cookie string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return find(k.cookies, cookie) >= 0
}

func add(list *[]string) string {
	key := rand.Text()
	*list = append(*list, key)
	*list = (*list)[max(0, len(*list)-maxKeys):]
	return key
}

// find takes the same time for every wrong key, so its time reveals nothing.
func find(list []string, key string) (at int) {
	at = -1
	for i, k := range list {
		if subtle.ConstantTimeCompare([]byte(k), []byte(key)) == 1 {
			at = i
		}
	}
	return at
}

// Link returns a link to the page at the address of a listener. It works once.
func (s *Server) Link(addr net.Addr) string {
	return "http://" + addr.String() + "/?token=" + s.keys.token()
}

// cookieName contains the port, because browsers share cookies between the ports
// of a host.
func cookieName(host string) string {
	if _, port, err := net.SplitHostPort(host); err == nil {
		return "taskwatch-" + port
	}
	return "taskwatch"
}

// enter admits a browser that followed a link, and redirects it, so that the
// token stays out of its history and of referrers.
func (s *Server) enter(w http.ResponseWriter, r *http.Request, token string) {
	cookie, ok := s.keys.redeem(token)
	if !ok {
		reject(w, "this link has been used, or is of another 'taskwatch ui'; open the last one that 'taskwatch ui' has printed")
		return
	}
	http.SetCookie(w, &http.Cookie{Name: cookieName(r.Host), Value: cookie, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode})
	http.Redirect(w, r, "/", http.StatusSeeOther)
	if s.cfg.OnUsed != nil {
		s.cfg.OnUsed()
	}
}
