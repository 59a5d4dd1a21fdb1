// Package courier sends notifications by mail.
//
// The handler of an event stores a notification for each recipient in the transaction that marks the event as processed
// (package store). The message queue has no part in what follows. Any replica leases a due notification and makes an
// attempt. The process may die after each of these steps:
//
//  1. Lease the notification and count the attempt. If the process dies later, another attempt begins when the lease
//     expires.
//  2. Look up what the mail needs at the other services, compose the mail, and pass it to email-service under its
//     message id.
//  3. Settle the notification: it is sent, it failed permanently, it no longer applies, or it is due again after a
//     pause.
//
// A notification therefore survives outages of hours. It fails permanently after a day of attempts, if a service
// refuses the mail or a lookup for a reason that will not change, or if the mail cannot be composed. The log and the
// table have the reason, and its recipient can request it again.
//
// email-service sends each mail once. It keeps a claim on the message id in the Dapr state store, and accepts a mail
// that it sent before without sending it again. An attempt that died between steps 2 and 3, or whose lease expired, is
// therefore repeated. A mail server may take minutes to answer; email-service waits that long, but answers
// EMAIL_IN_PROGRESS after a few seconds, and a later attempt asks for the outcome. One case remains: if email-service
// dies between the answer of the mail server and the record of it, the mail is sent twice, with the same Message-ID.
//
// Each notification has a class. Of eight workers, one belongs to each of the four classes, and four give each class a
// share. So a password reset does not wait for the mails about a postponed event.
//
// A resend is a new notification with the same facts and a message id of its own. If an event or a refund cancels
// tickets, each ticket causes a TICKET_CANCELLED, and the first one for an order and an owner stores the owner's
// notification. A postponement is one event with many recipients. It is stored as an announcement, whose notifications
// are queued page by page from the list of holders in ticket-service.
//
// A change of an event's name, venue or end is announced in the same way. Changes in quick succession are collected: an
// announcement waits Config.ChangeDelay for further ones. Mails about changes and postponements show the event as it
// is when they are sent, and only the previous values are in their facts. So the last mail is right, also if another
// change is made meanwhile, or if an earlier mail is retried later. They are superseded if the event was cancelled or
// the change was undone.
package courier
