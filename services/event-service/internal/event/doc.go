// Package event is what organizers put on: its facts, its rules and its life.
//
//	DRAFT ──publish──▶ PUBLISHED
//
// A DRAFT is seen by its organizer and admins alone; for everybody else it does not exist. Publishing
// puts the event on sale and cannot be undone, so it asks that the event's date is still to come;
// publishing again changes nothing. An event that is CANCELLED, which nothing here does yet, is seen
// like a published one and cannot be published again.
//
// What is decided here is pure: the store locks the event, asks, and writes the answer, so that two
// who publish at once get one change and one EVENT_PUBLISHED between them. The time that rules
// compare with is the database's.
package event
