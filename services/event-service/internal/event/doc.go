// Package event is what organizers put on: its facts, its rules and its life.
//
//	DRAFT ──publish──▶ PUBLISHED ─┐ postpone
//	  │                 │   ▲     │
//	  └──────cancel─────┤   └─────┘
//	                    ▼
//	                CANCELLED
//
// A DRAFT is seen by its organizer and admins alone; for everybody else it does not exist. Publishing
// puts the event on sale and cannot be undone, so it asks that the event's date is still to come. Who
// bought a ticket bought it for a date: from then on the date is changed by postponing alone, which
// tells everybody. Cancelling is the end: a CANCELLED event is seen like a published one and never
// changes again. Publishing, postponing to the same date and cancelling change nothing when they are
// done again.
//
// What is decided here is pure: the store locks the event, asks, and writes the answer, so that two
// who do the same at once get one change and one announcement between them. The time that rules
// compare with is the database's.
package event
