package courier

import (
	"time"

	"github.com/google/uuid"

	"github.com/eventbooking/eventbooking/services/contracts/money"
)

// The services asked, by app-id.
const (
	authService    = "auth-service"
	eventService   = "event-service"
	ticketService  = "ticket-service"
	paymentService = "payment-service"
	emailService   = "email-service"
)

// What is read of the contract's OrderInfoDto, UserInfoDto, TicketInfoDto and EventInfoDto, and of auth-service's answer about an
// account mail.
type (
	orderInfo struct {
		OrderNumber string         `json:"orderNumber"`
		TotalAmount money.Decimal  `json:"totalAmount"`
		Currency    money.Currency `json:"currency"`
		Items       []struct {
			Quantity   int           `json:"quantity"`
			UnitPrice  money.Decimal `json:"unitPrice"`
			TotalPrice money.Decimal `json:"totalPrice"`
		} `json:"items"`
	}
	userInfo struct {
		Email     string `json:"email"`
		FirstName string `json:"firstName"`
		LastName  string `json:"lastName"`
	}
	ticketInfo struct {
		TicketNumber string `json:"ticketNumber"`
	}
	eventInfo struct {
		Name         string    `json:"name"`
		EventDate    time.Time `json:"eventDate"`
		VenueName    string    `json:"venueName"`
		VenueAddress string    `json:"venueAddress"`
	}
	accountMailInfo struct {
		Email     string    `json:"email"`
		FirstName string    `json:"firstName"`
		Token     string    `json:"token"`
		ExpiresAt time.Time `json:"expiresAt"`
	}
)

// What email-service takes.
type (
	message struct {
		MessageID   uuid.UUID    `json:"messageId"`
		To          recipient    `json:"to"`
		Subject     string       `json:"subject"`
		Text        string       `json:"text"`
		HTML        string       `json:"html"`
		Attachments []attachment `json:"attachments"`
	}
	recipient struct {
		Name    string `json:"name"`
		Address string `json:"address"`
	}
	attachment struct {
		Filename    string `json:"filename"`
		ContentType string `json:"contentType"`
		Content     []byte `json:"content"` // base64 on the wire
	}
)
