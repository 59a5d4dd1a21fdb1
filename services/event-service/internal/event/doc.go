// Package event defines the events that organizers create: their details, their states, and the rules for changing
// them.
//
//	DRAFT ──publish──▶ PUBLISHED ─┐ postpone
//	  │                 │   ▲     │
//	  └──────cancel─────┤   └─────┘
//	                    ▼
//	                CANCELLED
//
// A DRAFT is visible to its organizer and to admins. For everyone else it does not exist.
//
// Publishing puts the event on sale. It cannot be undone, so it requires a date in the future. Buyers buy a ticket for
// a date. Therefore the date of a PUBLISHED event is changed only by postponing it, which is announced to the holders
// of tickets.
//
// The end of an event is optional. It can be set, changed and removed until the event is cancelled, because an event
// may take longer than planned. Postponing the event moves the end too.
//
// CANCELLED is the final state. A CANCELLED event is as visible as a PUBLISHED one and never changes again.
//
// Publishing, postponing to the same date, and cancelling are idempotent.
//
// The functions of this package are pure. Package store locks the event, calls them, and writes the result, so that
// concurrent requests for the same change cause one change and one published message. The rules compare dates with the
// clock of the database.
package event
