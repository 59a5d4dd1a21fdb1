package printing_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/ticket-service/internal/printing"
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
		_, err := printing.PDF(s.ticket, s.event, s.code)
		require.NoError(b, err)
	}
}
