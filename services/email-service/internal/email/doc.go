// Package email sends messages through an SMTP server.
//
// A message is sent under a claim on its id (package claim), so the same message within a day is accepted without being
// sent again. A server may take minutes to answer, in particular the final dot, so the phases of an attempt have the
// times of RFC 5321. Send does not wait that long: after 4 s it returns ErrInProgress, and the attempt continues and
// renews its claim. Send for the same message then returns ErrInProgress until the attempt has ended, and its outcome
// afterwards. There is one attempt at a time.
//
// The connection may break between the final dot and the server's answer to it. Then it is unknown whether the server
// accepted the message, and the message is sent again with the same Message-ID, by which a mailbox can recognize it:
// two copies of a ticket are better than none. After three such attempts the message is refused with ErrUnconfirmed.
// The message is also sent again if the process dies between the final dot and the end of the claim. SMTP cannot close
// this gap.
//
// No value of a message can add a header or a recipient. Control characters are refused, addresses are checked against
// RFC 5322 and written by net/mail, and everything else is encoded.
package email
