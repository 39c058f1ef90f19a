use uuid::Uuid;

use super::*;
use crate::acd::ids::QueueNumber;
use crate::acd::settings::Language;
use crate::acd::time::Wall;

pub(in crate::acd) fn settings(strategy: Strategy, participants: &[&str]) -> Arc<QueueSettings> {
    let participants = participants.iter().map(|p| AgentId::new(p).unwrap()).collect();
    let number = QueueNumber::new("99900").unwrap();
    let usual = QueueSettings::new(number, "Service".into(), participants, Language("en".into()));
    Arc::new(QueueSettings { strategy, ..usual })
}
fn call(n: &str) -> CallId {
    CallId::new(n).unwrap()
}
fn agent(n: &str) -> AgentId {
    AgentId::new(n).unwrap()
}
fn rank(ms: i64) -> Rank {
    Rank::new(Wall(ms), 0)
}
/// The callers of [`three`], by the order in which they came.
const B: EntryId = EntryId(0);
const C: EntryId = EntryId(1);
const A: EntryId = EntryId(2);
fn offer(n: u128) -> OfferId {
    OfferId(Uuid::from_u128(n))
}
fn three() -> Queue {
    let mut q = Queue::new(settings(Strategy::AsListed, &["1001"]));
    q.enter(call("b"), rank(20), Since::default(), 0, None);
    q.enter(call("c"), rank(30), Since::default(), 0, None);
    q.enter(call("a"), rank(10), Since::default(), 0, None);
    q
}

/// Q4: callers stand in the order of their entry, also when they come back with an older entry.
#[test]
fn callers_stand_in_the_order_of_their_entry() {
    let q = three();
    let order: Vec<_> = q.waiting().map(|(_, w)| w.call().as_str().to_owned()).collect();
    assert_eq!(order, ["a", "b", "c"]);
    assert_eq!(q.position(A, 31), Some(1));
    assert_eq!(q.position(C, 31), Some(3));
    assert_eq!(q.position(C, 2), Some(2));
    assert_eq!(q.position(EntryId(9), 31), None);
}

#[test]
fn two_callers_of_the_same_millisecond_get_two_ranks() {
    let mut q = three();
    let (_, got) = q.enter(call("d"), rank(20), Since::default(), 0, None);
    assert_eq!(got, Rank::new(Wall(20), 1));
    assert_eq!(q.len(), 4);
}

/// An entry is the line's own: it has its number also when the same call comes again, and is found by its call.
#[test]
fn an_entry_has_an_id_of_its_own() {
    let mut q = three();
    assert_eq!(q.entry_of(&call("a")), Some(A));
    q.leave(A);
    assert_eq!((q.entry_of(&call("a")), q.rank_to_keep(A)), (None, None));
    let (again, at) = q.enter(call("a"), rank(10), Since::default(), 0, None);
    assert_eq!((q.entry_of(&call("a")), q.rank_to_keep(again)), (Some(again), Some(at)));
    assert!(again != A && q.take_orders(A, false).is_none(), "no order reaches an entry that is gone");
}

/// Q25: a caller with a head start stands where an earlier entry would.
#[test]
fn a_head_start_puts_a_caller_ahead_of_earlier_ones() {
    let mut q = three();
    let ahead = Rank { head_start: Duration::from_millis(25), ..rank(40) };
    let (d, at) = q.enter(call("d"), ahead, Since::default(), 0, None);
    assert_eq!((at, q.position(d, 31), q.position(B, 31)), (ahead, Some(2), Some(3)));
    assert_eq!(q.next_to_serve(Some(rank(10))), Some(ahead));
}

/// Q25: the queue's share and the caller's own head start count together, up to an hour.
#[test]
fn q25_the_shares_of_a_head_start_are_capped_together() {
    let s = |seconds| Duration::from_secs(seconds);
    let settings = QueueSettings { head_start: s(3000), ..(*settings(Strategy::AsListed, &["1001"])).clone() };
    let mut q = Queue::new(Arc::new(settings));
    for (own, all) in [(0, 3000), (599, 3599), (600, 3600), (3600, 3600)] {
        let own = rank(0).with_head_start(s(own));
        let (entry, at) = q.enter(call("a"), own, Since::default(), 0, None);
        assert_eq!((at.head_start, q.rank_to_keep(entry)), (s(all), Some(own)));
        assert_eq!(q.leave(entry).unwrap().rank, own, "the queue's share stays behind");
    }
}

/// Q27: a changed share moves the callers who wait, calls no offer off, and loses nobody.
#[test]
fn q27_a_changed_head_start_moves_callers_at_once() {
    let s = |seconds| Duration::from_secs(seconds);
    let with = |share| {
        let usual = settings(Strategy::AsListed, &["1001"]);
        Arc::new(QueueSettings { head_start: s(share), ..(*usual).clone() })
    };
    let mut q = Queue::new(with(3500));
    // The cap puts the two with a head start of their own behind the one who came first.
    let enter = |q: &mut Queue, name, ms, own| {
        q.enter(call(name), rank(ms).with_head_start(s(own)), Since::default(), 0, None).0
    };
    let (a, b, c) = (enter(&mut q, "a", 0, 0), enter(&mut q, "b", 101_000, 300), enter(&mut q, "c", 101_000, 100));
    let line = |q: &Queue| q.waiting().map(|(_, w)| w.call().as_str().to_owned()).collect::<Vec<_>>().join("");
    assert_eq!(line(&q), "abc");
    q.confirm(a, offer(1), agent("1001"));
    q.take_orders(a, true);
    q.take_orders(c, true);
    let done = q.set_settings(with(0));
    assert_eq!((line(&q).as_str(), done.wake.len()), ("bac", 3));
    assert_eq!(done.moved, [(call("b"), s(300)), (call("a"), s(0)), (call("c"), s(100))]);
    assert_eq!((q.position(b, 9), q.position(a, 9), q.position(c, 9)), (Some(1), Some(2), Some(3)));
    let orders = q.take_orders(a, false).unwrap();
    assert_eq!((orders.call_off, q.at(q.ranks[&a]).unwrap().offers().len()), (vec![], 1));
    assert_eq!(q.next_to_serve(None), Some(q.ranks[&b]));
    assert_eq!(q.next_to_serve(Some(q.ranks[&b])), Some(q.ranks[&c]), "who is rung for is not served again");
    assert_eq!(q.leave(b).unwrap().improved.len(), 2, "those who listen still do");
    assert!(q.set_settings(with(0)).moved.is_empty());
    // Under the cap, two ranks may become one.
    let (d, e) = (enter(&mut q, "d", 500, 3600), enter(&mut q, "e", 500, 3599));
    q.set_settings(with(3600));
    assert_eq!((q.len(), q.call_at(q.ranks[&d]), q.call_at(q.ranks[&e])), (4, Some(call("d")), Some(call("e"))));
}

/// Q8: an offer is not confirmed when its caller is no longer waiting.
#[test]
fn an_offer_is_confirmed_only_for_a_caller_who_waits() {
    let mut q = three();
    assert!(q.confirm(A, offer(1), agent("1001")));
    assert_eq!(q.next_to_serve(None), Some(rank(20)));
    assert!(q.close(B).is_empty());
    assert!(!q.confirm(B, offer(2), agent("1001")));
    assert!(!q.confirm(EntryId(9), offer(2), agent("1001")));
    assert_eq!(q.next_to_serve(None), Some(rank(30)));
    q.missed(A, offer(1), Mono::default());
    assert_eq!(q.next_to_serve(None), Some(rank(10)));
    assert_eq!(q.next_to_serve(Some(rank(10))), Some(rank(30)));
}

/// Q8: no agent is kept for a caller who is about to leave.
#[test]
fn closing_frees_agents_whose_phones_do_not_ring_yet() {
    let mut q = three();
    q.confirm(A, offer(1), agent("1001"));
    q.take_orders(A, false).unwrap();
    q.confirm(A, offer(2), agent("1002"));
    assert_eq!(q.close(A), [(offer(2), agent("1002"))]);
    assert!(q.take_orders(A, false).unwrap().ring.is_empty());
    assert!(q.leave(A).unwrap().never_rang.is_empty());
}

/// Q15: an offer whose phone has not begun to ring has no leg to end.
#[test]
fn calling_off_knows_whether_it_rang() {
    let mut q = three();
    q.confirm(A, offer(1), agent("1001"));
    assert_eq!(q.call_off(A, offer(1), CancelCause::LoggedOut, Mono::default()), CalledOff::NeverRang);
    assert_eq!(q.call_off(A, offer(1), CancelCause::LoggedOut, Mono::default()), CalledOff::Stale);
    q.confirm(A, offer(2), agent("1001"));
    assert_eq!(q.take_orders(A, false).unwrap().ring, [(offer(2), agent("1001"))]);
    assert_eq!(q.call_off(A, offer(2), CancelCause::LoggedOut, Mono::default()), CalledOff::Ordered);
    let orders = q.take_orders(A, false).unwrap();
    assert_eq!(orders.call_off, [(offer(2), CancelCause::LoggedOut)]);
    assert!(orders.ring.is_empty());
    q.cancelled(A, offer(2));
    assert_eq!(q.next_to_serve(None), Some(rank(10)));
    assert_eq!(q.at(rank(10)).unwrap().tried_at(&agent("1001")), None);
}

/// Q7: an offer that never rang and was called off on request counts as tried: others come first.
#[test]
fn calling_off_on_request_passes_the_agent_over() {
    let mut q = three();
    q.confirm(A, offer(1), agent("1001"));
    let now = Mono(std::time::Duration::from_secs(7));
    assert_eq!(q.call_off(A, offer(1), CancelCause::Requested, now), CalledOff::NeverRang);
    assert_eq!(q.at(rank(10)).unwrap().tried_at(&agent("1001")), Some(now));
}

/// Q11: only callers behind a leaving caller move up, and only those who listen are woken.
#[test]
fn a_leaving_caller_wakes_the_listening_callers_behind() {
    let mut q = three();
    q.take_orders(A, true);
    q.take_orders(C, true);
    let left = q.leave(B).unwrap();
    assert_eq!(left.rank, rank(20));
    assert_eq!(left.improved, [call("c")]);
    assert_eq!(q.leave(B), None);
    assert!(q.leave(A).unwrap().improved.is_empty());
}

/// Q13: the last logout ends every wait, and nothing is offered to those who leave.
#[test]
fn the_last_logout_ends_every_wait() {
    let mut q = three();
    q.login(agent("1001"));
    q.login(agent("1002"));
    assert!(q.logout(&agent("1002")).is_empty());
    assert_eq!(q.logout(&agent("1001")).len(), 3);
    assert_eq!(q.take_orders(A, false).unwrap().end, Some(TimeoutCause::LastAgentLoggedOut));
    assert_eq!(q.next_to_serve(None), None);
}
