package printing_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/ticket-service/internal/printing"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/ticket"
)

func BenchmarkQRCode(b *testing.B) {
	s := setup(b)
	for b.Loop() {
		_, err := printing.QRCode(s.code)
		require.NoError(b, err)
	}
}

func BenchmarkPDF(b *testing.B) {
	s := setup(b)
	for b.Loop() {
		_, err := printing.PDF(s.event, s.pages(1)...)
		require.NoError(b, err)
	}
}

func BenchmarkPDFOfTheLargestOrder(b *testing.B) {
	s := setup(b)
	for b.Loop() {
		_, err := printing.PDF(s.event, s.pages(ticket.MaxTickets)...)
		require.NoError(b, err)
	}
}
