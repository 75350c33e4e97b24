package httpapi

import (
	"net/http"
	"strconv"

	"afina/api"
	"afina/internal/door"
	"afina/internal/fault"
)

// page serves the dashboard.
func (s *Server) page(w http.ResponseWriter, _ *http.Request) { s.show(w, http.StatusOK) }

func (s *Server) show(w http.ResponseWriter, status int) {
	h := w.Header()
	h.Set("Content-Security-Policy", s.board.Policy)
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-cache")
	send(w, status, "text/html; charset=utf-8", s.board.HTML)
}

// contract serves the description of the API.
func (s *Server) contract(w http.ResponseWriter, _ *http.Request) {
	send(w, http.StatusOK, "application/yaml", api.Contract)
}

func send(w http.ResponseWriter, status int, kind string, text []byte) {
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	_, _ = w.Write(text) // the client may be gone; there is nobody to tell
}

type status struct {
	Status string `json:"status"`
}

// health says that the process lives.
func (s *Server) health(*http.Request) (int, any, error) { return http.StatusOK, status{"ok"}, nil }

// ready says that it can answer: not while it starts, nor while it drains.
func (s *Server) ready(*http.Request) (int, any, error) {
	select {
	case <-s.door.Closing():
		return 0, nil, door.Stopping()
	default:
	}
	if s.Ready != nil {
		if err := s.Ready(); err != nil {
			return 0, nil, fault.New(fault.Busy, "the server is starting: %w", err).WithCode("not_ready")
		}
	}
	return http.StatusOK, status{"ready"}, nil
}
