package app

import (
	"time"

	"github.com/gorilla/mux"

	"github.com/eventbooking/eventbooking/services/internal/messaging/replay"
)

// Replays adds the routes to r with which admins let the service publish its events again. api is the prefix of the
// service's public paths, such as /api/tickets.
func (s *Service) Replays(r *mux.Router, api string) {
	replay.New(s.Pool, replay.Config{API: api, Kept: time.Duration(s.db.Settings.EventRetention)}).Mount(r, s.Guard)
}
