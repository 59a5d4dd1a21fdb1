// Package printing renders tickets: the QR code as a PNG, and tickets as a PDF.
package printing

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"strings"
	"time"
	"unicode/utf8"

	"codeberg.org/go-pdf/fpdf"
	"golang.org/x/image/font/gofont/gobold"
	"golang.org/x/image/font/gofont/goregular"
	"rsc.io/qr"

	"github.com/eventbooking/eventbooking/services/ticket-service/internal/ticket"
)

// QRCode renders a ticket's token as a PNG. Each module has eight pixels, so that it is visible on a phone, and the
// code is surrounded by the quiet zone that ISO/IEC 18004 requires. It returns an error for a text that is too long.
func QRCode(code string) ([]byte, error) {
	// Level M recovers about 15 % of a damaged code; a higher level makes the modules smaller.
	symbol, err := qr.Encode(code, qr.M)
	if err != nil {
		return nil, fmt.Errorf("QR code: %w", err)
	}
	return symbol.PNG(), nil
}

// Page geometry in millimetres: an A5 sheet with the code on the right.
const (
	margin    = 12.0
	qrSize    = 60.0
	lineSpace = 7.0
)

const timeFormat = "Monday, 2 January 2006, 15:04 MST"

// printable replaces characters outside the Basic Multilingual Plane, such as emoji, which fpdf refuses to print.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r > 0xFFFF {
			return utf8.RuneError
		}
		return r
	}, text)
}

// picture renders a ticket's token as a PNG for a page. It looks like that of QRCode and has fewer bytes, because
// a PDF can have many of them. buffers are reused by the pictures of a PDF.
func picture(code string, buffers png.EncoderBufferPool) ([]byte, error) {
	symbol, err := qr.Encode(code, qr.M)
	if err != nil {
		return nil, fmt.Errorf("QR code: %w", err)
	}
	const (
		quiet = 4 // modules around the code (ISO/IEC 18004)
		scale = 4 // pixels of a module
	)
	side := (symbol.Size + 2*quiet) * scale
	img := image.NewPaletted(image.Rect(0, 0, side, side), color.Palette{color.White, color.Black})
	for y := range side {
		for x := range side {
			if symbol.Black(x/scale-quiet, y/scale-quiet) { // false outside of the code
				img.Pix[y*img.Stride+x] = 1
			}
		}
	}
	var out bytes.Buffer
	encoder := png.Encoder{CompressionLevel: png.BestSpeed, BufferPool: buffers}
	if err := encoder.Encode(&out, img); err != nil {
		return nil, fmt.Errorf("QR code: %w", err)
	}
	return out.Bytes(), nil
}

// oneBuffer is a png.EncoderBufferPool for one encoder at a time.
type oneBuffer struct{ buffer *png.EncoderBuffer }

// Get returns the buffer.
func (o *oneBuffer) Get() *png.EncoderBuffer { return o.buffer }

// Put keeps the buffer.
func (o *oneBuffer) Put(b *png.EncoderBuffer) { o.buffer = b }

// Page is a ticket with its token.
type Page struct {
	Ticket ticket.Ticket
	Code   string
}

// PDF renders tickets of an event, at least one, each on an A5 page in landscape. Its font covers Latin, Greek and
// Cyrillic; other characters appear as empty boxes. Names that are too long for the page are truncated. The same
// tickets always have the same PDF.
func PDF(e ticket.Event, pages ...Page) ([]byte, error) {
	doc := fpdf.New("L", "mm", "A5", "")
	doc.AddUTF8FontFromBytes("Go", "", goregular.TTF)
	doc.AddUTF8FontFromBytes("Go", "B", gobold.TTF)
	title, created := pages[0].Ticket.Number, pages[0].Ticket.CreatedAt.UTC() // not now, so that the file is reproducible
	if len(pages) > 1 {
		title = fmt.Sprintf("%s and %d more", title, len(pages)-1)
	}
	doc.SetTitle(title, true)
	doc.SetSubject(e.Name, true)
	doc.SetCreationDate(created)
	doc.SetModificationDate(created)
	doc.SetCatalogSort(true)
	doc.SetMargins(margin, margin, margin)
	doc.SetAutoPageBreak(false, 0)
	var buffers oneBuffer
	for i, p := range pages {
		code, err := picture(p.Code, &buffers)
		if err != nil {
			return nil, err
		}
		name := fmt.Sprintf("qr%06d", i)
		doc.RegisterImageOptionsReader(name, fpdf.ImageOptions{ImageType: "PNG"}, bytes.NewReader(code))
		draw(doc, e, p.Ticket, name)
	}
	var out bytes.Buffer
	if err := doc.Output(&out); err != nil {
		return nil, fmt.Errorf("ticket PDF: %w", err)
	}
	return out.Bytes(), nil
}

// draw adds a page with a ticket, whose QR code is registered as an image under a name.
func draw(doc *fpdf.Fpdf, e ticket.Event, t ticket.Ticket, picture string) {
	doc.AddPage()
	width, _ := doc.GetPageSize()
	textWidth := width - 3*margin - qrSize

	doc.SetFillColor(24, 42, 74)
	doc.Rect(0, 0, width, 6, "F")
	doc.SetXY(margin, margin+4)
	// write prints text in at most maxLines lines, so that a long name leaves room for the other fields.
	write := func(width, height float64, text string, maxLines int) {
		lines := doc.SplitText(printable(text), width)
		if len(lines) > maxLines {
			lines = append(lines[:maxLines-1], lines[maxLines-1]+"…")
		}
		doc.MultiCell(width, height, strings.Join(lines, "\n"), "", "L", false)
	}
	doc.SetFont("Go", "B", 18)
	write(textWidth, 8, e.Name, 3)
	doc.SetFont("Go", "", 11)
	times := e.Date.UTC().Format(timeFormat)
	if e.EndDate != nil {
		times += "\nuntil " + e.EndDate.UTC().Format(timeFormat)
	}
	for _, text := range []string{times, e.VenueName, e.VenueAddress} {
		if text == "" {
			continue
		}
		doc.SetX(margin)
		write(textWidth, lineSpace, text, 2)
	}
	doc.Ln(4)
	for _, field := range [][2]string{
		{"Ticket", t.TypeName},
		{"Holder", t.HolderName},
		{"Number", t.Number},
		{"Issued", t.CreatedAt.UTC().Format(time.DateOnly)},
	} {
		doc.SetX(margin)
		doc.SetFont("Go", "", 9)
		doc.SetTextColor(110, 110, 110)
		doc.CellFormat(22, lineSpace, field[0], "", 0, "L", false, 0, "")
		doc.SetFont("Go", "B", 11)
		doc.SetTextColor(0, 0, 0)
		write(textWidth-22, lineSpace, field[1], 2)
	}

	doc.ImageOptions(picture, width-margin-qrSize, margin+6, qrSize, qrSize, false,
		fpdf.ImageOptions{ImageType: "PNG"}, 0, "")
	doc.SetXY(width-margin-qrSize, margin+6+qrSize+2)
	doc.SetFont("Go", "", 8)
	doc.MultiCell(qrSize, 4, "Show this code at the entrance. It admits one person, once.", "", "C", false)
}
