// Package account is who people are: how they register, prove a password, stay logged in and get back
// in.
//
// A login opens a session. Its refresh token is used once, for the next one and another access token:
//
//	login ──▶ R1 ──refresh──▶ R2 ──refresh──▶ R3 ...
//
// Whoever shows a used one again is a thief, or was robbed by one: nobody can tell which, so the session
// is revoked with all that came of it, and both have to log in. That holds for two who show the same
// token at once too: one gets the next, the other ErrRefreshTokenReused, and the session ends. A session
// also ends by logout, by a new password (all but the one that set it), and by a change of roles.
//
// Access tokens are checked without asking anybody, and so they outlive their session by the rest of
// their 15 minutes, except here and for those who ask.
//
// Guessing is slowed down by counting failures, by account and by address. They are counted under the
// e-mail address that was tried, whether or not anybody has it, so that being throttled tells nothing.
package account
