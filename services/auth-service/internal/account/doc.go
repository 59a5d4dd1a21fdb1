// Package account defines accounts: how people register, prove a password, stay logged in, and recover access.
//
// # Sessions
//
// A login opens a session and returns its first refresh token. A refresh token is used once. It is exchanged for the
// next one and another access token:
//
//	login ──▶ R1 ──refresh──▶ R2 ──refresh──▶ R3 ...
//
// If a used refresh token is presented again, it may have been stolen, and the service cannot tell the thief from the
// owner. Therefore the session is revoked with all its tokens, and both have to log in again. This also holds for two
// concurrent requests with the same token: one gets the next token, the other ErrRefreshTokenReused, and the session
// ends.
//
// A session also ends by logout, by a new password (except the session that set it), and by a change of the user's
// roles.
//
// Other services verify access tokens with the published keys, without a call. Therefore an access token outlives its
// session there by the rest of its 15 minutes. It is rejected at once by this service, and by a service that calls
// calls.ValidateToken.
//
// # Throttling
//
// Failed logins are counted by account and by network address, and limit how fast passwords can be guessed. They are
// counted under the e-mail address in the request, whether or not it has an account, so that throttling does not reveal
// which accounts exist.
package account
