// Package email turns a message into MIME and hands it to an SMTP server.
//
// A message is sent under a claim on its id (package claim), so that the same one again, within a day, is
// answered without being sent. Send returns nil once the server took the message, and an error when it did not
// or nobody knows: a connection may break after the last dot and before the answer to it. What remains are
// that, and dying in the instant between the server's answer and the claim's end: the message is then sent
// again, with the same Message-ID, by which a mailbox can tell. SMTP has no way to close that gap, and a
// ticket that comes twice is better than one that never does.
//
// No value of a message can add a header or a recipient: control characters are refused, addresses
// are checked against RFC 5322 and written by net/mail, everything else is encoded.
package email
