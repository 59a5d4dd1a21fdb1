// Package email turns a message into MIME and hands it to an SMTP server.
//
// Send returns nil once the server took the message, and an error when it did not or nobody knows: a
// connection may break after the last dot and before the answer to it. So a message is delivered at
// least once; the sender of the request deduplicates before it asks, and the Message-ID, which is
// made from the message's own id and is the same in every attempt, lets a mailbox do it after.
//
// No value of a message can add a header or a recipient: control characters are refused, addresses
// are checked against RFC 5322 and written by net/mail, everything else is encoded.
package email
