package printing_test

import (
	"bytes"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode"
	"github.com/stretchr/testify/require"

	"github.com/eventbooking/eventbooking/services/contracts/calls"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/printing"
	"github.com/eventbooking/eventbooking/services/ticket-service/internal/ticket"
)

type bundle struct {
	ticket ticket.Ticket
	event  ticket.Event
	code   string
}

func setup(tb testing.TB) *bundle {
	tb.Helper()
	signer, err := ticket.NewSigner("c2VlZHNlZWRzZWVkc2VlZHNlZWRzZWVkc2VlZHNlZWQ=")
	require.NoError(tb, err)
	b := &bundle{
		ticket: ticket.Ticket{
			ID: uuid.New(), Number: "TKT-2026-000042", TypeName: "VIP", EventID: uuid.New(), HolderName: "Ann O'Hara",
			Status: ticket.Active, CodeVersion: 1, CreatedAt: time.Date(2026, 1, 15, 10, 30, 0, 0, time.UTC),
		},
		event: ticket.Event{
			Name: "Summer Music Festival", VenueName: "Central Park", Date: time.Date(2026, 7, 15, 18, 0, 0, 0, time.UTC),
		},
	}
	b.code, err = signer.Code(b.ticket)
	require.NoError(tb, err)
	return b
}

// pages returns n pages with the ticket, each under another number and with another code.
func (b *bundle) pages(n int) []printing.Page {
	pages := make([]printing.Page, n)
	for i := range pages {
		pages[i] = printing.Page{Ticket: b.ticket, Code: b.code}
		if i > 0 {
			// The last part of a token is its signature, in which consecutive tickets differ.
			signature := sha512.Sum512([]byte{byte(i), byte(i >> 8)})
			pages[i].Ticket.Number = fmt.Sprintf("TKT-2026-%06d", i)
			pages[i].Code = b.code[:len(b.code)-86] + base64.RawURLEncoding.EncodeToString(signature[:])
		}
	}
	return pages
}

func requirePDF(t *testing.T, content []byte) {
	t.Helper()
	require.True(t, bytes.HasPrefix(content, []byte("%PDF-")))
	require.True(t, bytes.HasSuffix(bytes.TrimSpace(content), []byte("%%EOF")))
}

func isWhite(picture image.Image, x, y int) bool {
	return color.GrayModel.Convert(picture.At(x, y)) == color.Gray{Y: 255}
}

// A scanner reads the token of the signer from the picture.
func TestQRCodeContainsToken(t *testing.T) {
	t.Parallel()
	b := setup(t)
	content, err := printing.QRCode(b.code)
	require.NoError(t, err)
	picture, err := png.Decode(bytes.NewReader(content))
	require.NoError(t, err)
	bitmap, err := gozxing.NewBinaryBitmapFromImage(picture)
	require.NoError(t, err)
	// The picture contains only the code. Without this hint, the reader searches for a code and sometimes fails.
	hints := map[gozxing.DecodeHintType]any{gozxing.DecodeHintType_PURE_BARCODE: true}
	read, err := qrcode.NewQRCodeReader().Decode(bitmap, hints)
	require.NoError(t, err)
	require.Equal(t, b.code, read.GetText())

	again, err := printing.QRCode(b.code)
	require.NoError(t, err)
	require.Equal(t, content, again)

	t.Run("QuietZone", func(t *testing.T) {
		t.Parallel()
		// The quiet zone ends at the first finder pattern, which is black and seven modules wide.
		size, first := picture.Bounds().Dx(), 0
		for isWhite(picture, first, first) {
			first++
		}
		module := 0
		for !isWhite(picture, first+7*module, first) {
			module++
		}
		require.GreaterOrEqual(t, first, 4*module)
		for i := range size {
			for j := range first {
				require.True(t, isWhite(picture, i, j) && isWhite(picture, j, i) &&
					isWhite(picture, i, size-1-j) && isWhite(picture, size-1-j, i))
			}
		}
	})

	t.Run("TextTooLong", func(t *testing.T) {
		t.Parallel()
		_, err := printing.QRCode(strings.Repeat("x", 10_000))
		require.Error(t, err)
	})
}

func TestPDFIsReproducible(t *testing.T) {
	t.Parallel()
	b := setup(t)
	content, err := printing.PDF(b.event, b.pages(1)...)
	require.NoError(t, err)
	requirePDF(t, content)

	// fpdf keeps fonts in maps, so that a single repetition could be equal by chance.
	for range 8 {
		b.ticket.CreatedAt = b.ticket.CreatedAt.In(time.FixedZone("elsewhere", 3600))
		again, err := printing.PDF(b.event, b.pages(1)...)
		require.NoError(t, err)
		require.Equal(t, content, again)
	}
}

// The holder of a printed ticket goes where and when it says.
func TestPDFShowsEveryDetailOfTheEvent(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*ticket.Event){
		"Name":         func(e *ticket.Event) { e.Name = "Autumn Music Festival" },
		"Date":         func(e *ticket.Event) { e.Date = e.Date.Add(time.Hour) },
		"EndDate":      func(e *ticket.Event) { e.EndDate = new(e.Date.Add(time.Hour)) },
		"VenueName":    func(e *ticket.Event) { e.VenueName = "Town Hall" },
		"VenueAddress": func(e *ticket.Event) { e.VenueAddress = "1 Market Square" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			before, err := printing.PDF(b.event, b.pages(1)...)
			require.NoError(t, err)
			change(&b.event)
			after, err := printing.PDF(b.event, b.pages(1)...)
			require.NoError(t, err)
			requirePDF(t, after)
			require.NotEqual(t, before, after)
		})
	}
}

func TestPDFAcceptsAnyText(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, text string }{
		{"Polish", "Łucja Żółć"},
		{"Greek", "Ωμέγα"},
		{"Cyrillic", "Пётр"},
		{"Arabic", "محمد"},
		{"Chinese", "王小明"},
		{"Combining", "Ame\u0301lie\u200d"},
		{"Emoji", "Ann 😀"},
		{"FirstOutsideTheBasicPlane", "\U00010000"},
		{"LastOfTheBasicPlane", "\uffff"},
		{"Empty", ""},
		{"LineBreaks", "Ann\r\n\nO'Hara\n"},
		{"LongWords", strings.Repeat("W", 200)},
		{"LongText", strings.Repeat("Ann ", 50)},
		{"LongChinese", strings.Repeat("王", 200)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.ticket.TypeName, b.ticket.HolderName = tt.text, tt.text
			b.event.Name, b.event.VenueName, b.event.VenueAddress = tt.text, tt.text, tt.text
			content, err := printing.PDF(b.event, b.pages(1)...)
			require.NoError(t, err)
			requirePDF(t, content)
		})
	}
}

// The PDF of the largest order fits into a mail, also if its names are as long as possible and have many characters.
func TestPDFOfTheLargestOrderFitsIntoAMail(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var letters strings.Builder
	for r := 'À'; letters.Len() < 800; r++ {
		letters.WriteRune(r)
	}
	b.event.Name, b.event.VenueName = letters.String(), letters.String()
	b.ticket.TypeName, b.ticket.HolderName = letters.String(), letters.String()
	content, err := printing.PDF(b.event, b.pages(ticket.MaxTickets)...)
	require.NoError(t, err)
	requirePDF(t, content)
	require.Less(t, len(content), calls.MaxMailAttachments)
	require.Equal(t, ticket.MaxTickets, bytes.Count(content, []byte("/Type /Page\n")))
}
