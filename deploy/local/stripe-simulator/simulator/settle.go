package simulator

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// settleInterval is how often the later changes that are due are made while no request comes in.
const settleInterval = 100 * time.Millisecond

// idSet is a set of ids.
type idSet map[string]bool

func (s idSet) set(id string, in bool) {
	if in {
		s[id] = true
	} else {
		delete(s, id)
	}
}

// later returns a change that takes place after the time that the faults set.
func (s *Server) later(to string) *later {
	after := time.Duration(cmp.Or(s.faults.get().SettleMs, 1000)) * time.Millisecond
	return &later{To: to, AtMs: s.now().Add(after).UnixMilli()}
}

// settle makes the changes that are due: charges that were processing, refunds that were pending or fail, and disputes.
// Every request settles first, so a change is visible from its time on. The caller holds the lock.
func (s *Server) settle() {
	now := s.now().UnixMilli()
	due := func(l *later) bool { return l != nil && l.AtMs <= now }
	for _, id := range slices.Sorted(maps.Keys(s.unsettled)) {
		var change entry
		switch pi, re := s.intents[id], s.refunds[id]; {
		case pi != nil && due(pi.Later):
			settled := *pi
			s.succeed(&settled)
			change = entry{Intent: &settled, news: settled.news()}
		case pi != nil && due(pi.Dispute):
			change = s.openDispute(*pi)
		case re != nil && due(re.Later):
			change = s.settleRefund(*re)
		default:
			continue
		}
		if err := s.commit(change, ""); err != nil {
			return // commit logged it, and every later request fails too
		}
	}
}

// settleRefund returns the entry that gives a refund its later status. The amount of a failed refund can be refunded
// again.
func (s *Server) settleRefund(re storedRefund) entry {
	pi := *s.intents[re.PaymentIntent]
	re.Status, re.Later = re.Later.To, nil
	news := []announcement{{"refund.updated", re.refund}, {"charge.refund.updated", re.refund}}
	if re.Status == refundFailed {
		reason := "expired_or_canceled_card"
		re.FailureReason = &reason
		pi.Refunded -= re.Amount
		news = []announcement{
			{"refund.failed", re.refund}, {"refund.updated", re.refund}, {"charge.refund.updated", re.refund},
		}
	}
	return entry{Intent: &pi, Refund: &re, news: news}
}
