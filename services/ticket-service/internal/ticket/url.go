package ticket

import "github.com/google/uuid"

// PublicURL is the address of the public API, without a slash at its end.
type PublicURL string

// QRCode returns the URL of a ticket's QR code, a PNG.
func (u PublicURL) QRCode(ticketID uuid.UUID) string {
	return string(u) + "/api/tickets/" + ticketID.String() + "/qr.png"
}
