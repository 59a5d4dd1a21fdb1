// Package email sends messages through an SMTP server.
//
// A message is sent under a claim on its id (package claim), so the same message within a day is accepted without being
// sent again. Send returns nil if the server accepted the message, and an error if it did not or if that is unknown:
// the connection may break between the final dot and the server's answer to it. In that case, and if the process dies
// between the server's answer and the end of the claim, the message is sent again with the same Message-ID, by which a
// mailbox can recognize it. SMTP cannot close this gap, and two copies of a ticket are better than none.
//
// No value of a message can add a header or a recipient. Control characters are refused, addresses are checked against
// RFC 5322 and written by net/mail, and everything else is encoded.
package email
